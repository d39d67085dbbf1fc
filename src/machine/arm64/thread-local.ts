/**
 * Thread-local accesses of ARM64 code ("ELF for the Arm 64-bit Architecture", 5.7.12; "ELF Handling For Thread-Local Storage"; of COFF, "ARM64
 * Relocations" in the PE format): what compilers emit, and what it becomes where the distance from the thread pointer lies in a slot.
 *
 *   local exec        mrs xT, tpidr_el0    add xA, xT, [x@tprel_hi12], lsl #12    add xA, xA, [x@tprel_lo12]    or a load or store; or movz, movk
 *   initial exec      adrp xA, [x@gottprel]    ldr xA, [xA, x@gottprel_lo12]
 *   descriptor        adrp x0, [x@tlsdesc]     ldr xA, [x0, x@tlsdesc_lo12]       add x0, x0, [x@tlsdesc_lo12]    blr xA
 *   general dynamic   adrp x0, [x@tlsgd]       add x0, x0, [x@tlsgd_lo12]         bl __tls_get_addr    nop
 */
import type { SlotAccess } from '../architecture.ts'
import type { EdgeKind } from '../edges.ts'
import { decodeWord, INSTRUCTION_SIZE, isNop, NOP, offsetScale, putWord, wordAt } from './instructions.ts'

/** `mrs x1, tpidr_el0`; `add x0, x1, x0`: what the call of `__tls_get_addr` leaves in x0, with x1 that a call may spoil. */
const THREAD_POINTER = 0xd53bd041
const ADD_IT = 0x8b000020

const baseOf = (word: number): number => (word >>> 5) & 31
const registerOf = (word: number): number => word & 31

function wordIn(content: Uint8Array, offset: number): number | undefined {
  return offset >= 0 && offset + INSTRUCTION_SIZE <= content.length ? wordAt(content, offset) : undefined
}

/** Architecture.linking.threadLocal.callOf. */
export function callOf(kind: EdgeKind, content: Uint8Array | undefined, field: number): number | undefined {
  if (kind !== 'tlsgdlo12' || content === undefined) return undefined
  const [call, behind] = [wordIn(content, field + 4), wordIn(content, field + 8)]
  return call !== undefined && behind !== undefined && decodeWord(call).form === 'bl' && isNop(behind) ? 4 : undefined
}

/** The bits of the field that has (a part of) `distance`; undefined: it does not fit. */
const BITS: Readonly<Partial<Record<EdgeKind, (word: number, distance: number) => number | undefined>>> = {
  tprelhi12: (_word, distance) => highBits(distance),
  secrelhi12: (_word, distance) => highBits(distance),
  tprello12: (word, distance) => lowBits(word, distance % 2 ** 12),
  secrello12: (word, distance) => lowBits(word, distance % 2 ** 12),
  tprel12: (word, distance) => (distance < 2 ** 12 ? lowBits(word, distance) : undefined),
  tprelmovw16: wideBits,
}

const highBits = (distance: number): number | undefined => (distance < 2 ** 24 ? Math.floor(distance / 2 ** 12) << 10 : undefined)

/** ADD has bytes, a load or store what it counts in. */
function lowBits(word: number, offset: number): number | undefined {
  const { form } = decodeWord(word)
  if (form === 'add') return offset << 10
  if (form !== 'load-store-offset') return undefined
  const scale = offsetScale(word)
  return offset % 2 ** scale === 0 ? (offset >> scale) << 10 : undefined
}

/** MOVZ has the highest bits that are not zero, MOVK some below them. */
function wideBits(word: number, distance: number): number | undefined {
  const shift = 16 * ((word >>> 21) & 3)
  const isFirst = (word & 0x7f800000) === 0x52800000
  const isKept = (word & 0x7f800000) === 0x72800000
  if (!isFirst && !isKept) return undefined
  const part = Math.floor(distance / 2 ** shift)
  return isFirst && part >= 2 ** 16 ? undefined : (part % 2 ** 16) << 5
}

/** Architecture.linking.threadLocal.toLocalExec. Other models go through a slot: their registers stay what they are. */
export function toLocalExec(kind: EdgeKind, content: Uint8Array, field: number, distance: number): boolean {
  const word = wordIn(content, field)
  const bits = word === undefined || distance < 0 ? undefined : BITS[kind]?.(word, distance)
  if (word === undefined || bits === undefined) return false
  putWord(content, field, word | bits)
  return true
}

/** Architecture.linking.threadLocal.toInitialExec. */
export function toInitialExec(kind: EdgeKind, content: Uint8Array, field: number): SlotAccess | undefined {
  const word = wordIn(content, field)
  if (word === undefined) return undefined
  const { form } = decodeWord(word)
  switch (kind) {
    case 'gottprelpage21':
    case 'gottprello12':
      return withSlot(kind, field)
    case 'tlsdescpage21':
    case 'tlsgdpage21':
      return form === 'adrp' && registerOf(word) === 0 ? withSlot(kind, field) : undefined
    case 'tlsdesclo12':
      if (baseOf(word) !== 0) return undefined
      if (isLoad(word)) {
        // ldr x0, [x0, ...]
        putWord(content, field, (word & ~31) >>> 0)
        return withSlot(kind, field)
      }
      if (form !== 'add' || registerOf(word) !== 0) return undefined
      putWord(content, field, NOP)
      return 'no-field'
    case 'tlsdescblr':
      if (decodeWord(word).flow !== 'call-indirect') return undefined
      putWord(content, field, NOP)
      return 'no-field'
    case 'tlsgdlo12':
      if (callOf(kind, content, field) === undefined || form !== 'add' || registerOf(word) !== 0 || baseOf(word) !== 0) return undefined
      putWord(content, field, LOAD_X0)
      putWord(content, field + 4, THREAD_POINTER)
      putWord(content, field + 8, ADD_IT)
      return withSlot(kind, field)
    default:
      return undefined
  }
}

/** `ldr x0, [x0, ...]`. */
const LOAD_X0 = 0xf9400000

const isLoad = (word: number): boolean => (word & 0xffc00000) >>> 0 === LOAD_X0

const SLOTS: Readonly<Partial<Record<EdgeKind, EdgeKind>>> = {
  gottprelpage21: 'page21',
  gottprello12: 'pageoff12',
  tlsdescpage21: 'page21',
  tlsdesclo12: 'pageoff12',
  tlsgdpage21: 'page21',
  tlsgdlo12: 'pageoff12',
}

/** Architecture.linking.threadLocal.withSlot. */
export function withSlot(kind: EdgeKind, field: number): SlotAccess | undefined {
  if (kind === 'tlsdescblr') return 'no-field'
  const slot = SLOTS[kind]
  return slot && { field, kind: slot }
}

/** Architecture.linking.threadLocal.agrees. */
export function agrees(kind: EdgeKind, image: Uint8Array, distance: number): boolean | undefined {
  const word = wordIn(image, 0)
  const wanted = word === undefined || distance < 0 ? undefined : BITS[kind]?.(word, distance)
  if (word === undefined || wanted === undefined) return undefined
  // Linkers leave out an addition of nothing.
  if (isNop(word)) return wanted === 0
  return kind === 'tprelmovw16' ? (word & 0x1fffe0) === wanted : (word & 0x3ffc00) === wanted
}
