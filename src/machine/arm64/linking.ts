/**
 * What linkers do to ARM64 code ("ELF for the Arm 64-bit Architecture", 5.7.14 and 5.9; binutils, lld): pages and offsets that are near become
 * ADR, loads from the GOT additions, thread-local sequences simpler ones; for Cortex-A53 a load or store may become a branch to a copy, or the ADRP in
 * front of it an ADR of the same page.
 */
import type { LinkedImage, LinkedReference, SeenTarget } from '../architecture.ts'
import { EDGE_KINDS, type EdgeKind } from '../edges.ts'
import { offsetOf } from './fields.ts'
import { BTI_C, decodeWord, INSTRUCTION_SIZE, isNop, wordAt } from './instructions.ts'
import { callOf } from './thread-local.ts'

const registerOf = (word: number): number => word & 31
const baseOf = (word: number): number => (word >>> 5) & 31

/** Whether a linker may have made `linked` of `object`, which has a field of `kind`; apart from the field itself. */
type Rewriting = (object: number, linked: number) => boolean

const nearAddress: Rewriting = (object, linked) => decodeWord(linked).form === 'adr' && registerOf(linked) === registerOf(object)
const nothing: Rewriting = (_object, linked) => isNop(linked)
/** The veneer of erratum 843419. */
const elsewhere: Rewriting = (object, linked) => decodeWord(object).form === 'load-store-offset' && decodeWord(linked).form === 'b'
const addition: Rewriting = (object, linked) =>
  decodeWord(linked).form === 'add' && registerOf(linked) === registerOf(object) && baseOf(linked) === baseOf(object)

const REWRITINGS: Readonly<Partial<Record<EdgeKind, readonly Rewriting[]>>> = {
  page21: [nearAddress, nothing],
  pageoff12: [nearAddress, elsewhere],
  gotpage21: [nearAddress, nothing],
  gotpageoff12: [nearAddress, addition, elsewhere],
  // A call of a weak symbol that nobody defines.
  branch26: [nothing],
}

/** Architecture.linking.excuse. */
export function excuse(
  kind: EdgeKind,
  threadLocal: boolean,
  content: Uint8Array,
  field: number,
  image: Uint8Array,
  at: number,
  ignored: Uint8Array,
): void {
  if (EDGE_KINDS[kind].mask === undefined || at < 0 || at + INSTRUCTION_SIZE > image.length) return
  const [object, linked] = [wordAt(content, field), wordAt(image, at)]
  const rewritten = threadLocal || (REWRITINGS[kind] ?? []).some((rewriting) => rewriting(object, linked))
  if (rewritten) ignored.fill(0xff, field, field + INSTRUCTION_SIZE)
  const call = callOf(kind, content, field)
  // And the nop behind it.
  if (call !== undefined) ignored.fill(0xff, field + call, field + call + 2 * INSTRUCTION_SIZE)
}

const PAGE = 4096

function wordIn(image: LinkedImage, rva: number): number | undefined {
  const bytes = image.bytes(rva, INSTRUCTION_SIZE)
  return bytes && wordAt(bytes, 0)
}

/** Architecture.linking.seen. Low 12 bits say nothing alone: they are read with the page. */
export function seen({ kind, place, addend, siblings }: LinkedReference, image: LinkedImage): SeenTarget | undefined {
  const word = wordIn(image, place)
  if (word === undefined) return undefined
  const { form, distance } = decodeWord(word)
  switch (kind) {
    case 'branch26':
      if (distance === undefined) return undefined
      return { at: 'rva', rva: behindVeneer(image, place + distance) - addend }
    case 'branch19':
    case 'branch14':
    case 'literal19':
    case 'adr21':
      return distance === undefined ? undefined : { at: 'rva', rva: place + distance - addend }
    case 'page21':
    case 'gotpage21': {
      if (form === 'adr' && pageIn(place, word) === undefined) return { at: 'rva', rva: place + (distance as number) - addend }
      const rest = siblings().find((other) => other.kind === (kind === 'page21' ? 'pageoff12' : 'gotpageoff12'))
      return rest && seenAsPage(image, { place, word, addend, isSlot: kind === 'gotpage21' }, place + rest.distance)
    }
    case 'secrelhi12': {
      const low = siblings().find((other) => other.kind === 'secrello12')
      const rest = low && wordIn(image, place + low.distance)
      const offset = rest === undefined ? undefined : offsetOf(rest)
      return offset === undefined ? undefined : { at: 'block', offset: ((word >>> 10) & 0xfff) * PAGE + offset - addend }
    }
    default:
      return undefined
  }
}

interface PageReference {
  readonly place: number
  readonly word: number
  readonly addend: number
  readonly isSlot: boolean
}

function seenAsPage(image: LinkedImage, page: PageReference, restPlace: number): SeenTarget | undefined {
  const rest = wordIn(image, restPlace)
  if (rest === undefined) return undefined
  const { form, distance } = decodeWord(rest)
  if (form === 'adr') return { at: 'rva', rva: restPlace + (distance as number) - page.addend }
  const target = pageTarget(page.place, page.word, rest)
  if (target === undefined) return undefined
  // A load from the GOT that became an addition has the address itself.
  return page.isSlot && form === 'load-store-offset' ? { at: 'slot', rva: target - page.addend } : { at: 'rva', rva: target - page.addend }
}

/** What an ADRP at `place` and the ADD, load or store that goes with it address. */
function pageTarget(place: number, word: number, rest: number): number | undefined {
  const page = pageIn(place, word)
  const offset = offsetOf(rest)
  return page === undefined || offset === undefined ? undefined : page + offset
}

/** The page that an ADRP at `place` gives, or the ADR that GNU ld writes in its place where erratum 843419 is to be avoided. */
export function pageIn(place: number, word: number): number | undefined {
  const { form, distance = 0 } = decodeWord(word)
  if (form === 'adrp') return Math.floor(place / PAGE) * PAGE + distance
  return form === 'adr' && (place + distance) % PAGE === 0 ? place + distance : undefined
}

/** Where a linker's range extension leads: ADRP x16, ADD x16, BR x16. */
function behindVeneer(image: LinkedImage, rva: number): number {
  const bytes = image.bytes(rva, 3 * INSTRUCTION_SIZE)
  if (bytes === undefined) return rva
  const [page, rest, jump] = [wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8)]
  if (decodeWord(rest).form !== 'add' || !isJumpThrough(jump, registerOf(rest)) || registerOf(page) !== baseOf(rest)) return rva
  return pageTarget(rva, page, rest) ?? rva
}

const isJumpThrough = (word: number, register: number): boolean => (word & 0xfffffc1f) >>> 0 === 0xd61f0000 && baseOf(word) === register

/** `[bti c]; adrp xA; ldr xB, [xA, #n]; [add xA, xA, #m]; br xB`: ELF's PLT entries, PE's import thunks. */
export function slotOfStub(image: LinkedImage, rva: number): number | undefined {
  const first = wordIn(image, rva) === BTI_C ? rva + INSTRUCTION_SIZE : rva
  const [page, load, third] = [wordIn(image, first), wordIn(image, first + 4), wordIn(image, first + 8)]
  if (page === undefined || load === undefined || third === undefined) return undefined
  const loads = decodeWord(load).form === 'load-store-offset' && (load & 0xffc00000) >>> 0 === 0xf9400000
  if (!loads || baseOf(load) !== registerOf(page)) return undefined
  const jump = decodeWord(third).form === 'add' ? wordIn(image, first + 12) : third
  return jump !== undefined && isJumpThrough(jump, registerOf(load)) ? pageTarget(first, page, load) : undefined
}

/** Architecture.linking.isAccess. A page alone is no address: what is added to it decides. */
export function isAccess(kind: EdgeKind, content: Uint8Array | undefined, field: number): boolean {
  if (kind === 'page21' || kind === 'literal19') return true
  return kind === 'pageoff12' && content !== undefined && decodeWord(wordAt(content, field)).form === 'load-store-offset'
}

const THROUGH_SLOT: Readonly<Partial<Record<EdgeKind, EdgeKind>>> = { gotpage21: 'page21', gotpageoff12: 'pageoff12' }

export const throughSlot = (got: EdgeKind): EdgeKind | undefined => THROUGH_SLOT[got]
