/**
 * Thread-local accesses of x64 code ("ELF Handling For Thread-Local Storage", 4.4.6 and 5.5; x86-64 psABI, "Thread-Local Storage"): the
 * sequences that compilers emit, which each linker knows by heart since it rewrites them, and what they become where the distance from the
 * thread pointer is known or lies in a slot.
 *
 *   general dynamic   66 48 8d 3d [x@tlsgd]  66 66 48 e8 [__tls_get_addr]    or 66 48 ff 15 [its slot]
 *   local dynamic     48 8d 3d [x@tlsld]     e8 [__tls_get_addr]             or ff 15, 67 e8
 *   initial exec      48 8b xx [x@gottpoff], 48 03 xx [x@gottpoff]
 *   descriptor        48 8d 05 [x@tlsdesc]   …   ff 10                        or into another register and from there to %rax
 */
import { viewOf } from '../../binary/struct.ts'
import type { SlotAccess } from '../architecture.ts'
import type { EdgeKind } from '../edges.ts'

/** Where the call of `__tls_get_addr` has its field, from that of the access; undefined: the bytes are no such sequence. */
export function callOf(kind: EdgeKind, content: Uint8Array | undefined, field: number): number | undefined {
  if (content === undefined) return undefined
  const is = (offset: number, ...bytes: readonly number[]): boolean => bytes.every((byte, i) => content[field + offset + i] === byte)
  if (kind === 'tlsgd32') {
    if (!is(-4, 0x66, 0x48, 0x8d, 0x3d)) return undefined
    return is(4, 0x66, 0x66, 0x48, 0xe8) || is(4, 0x66, 0x48, 0xff, 0x15) ? 8 : undefined
  }
  if (kind !== 'tlsld32' || !is(-3, 0x48, 0x8d, 0x3d)) return undefined
  if (is(4, 0xe8)) return 5
  return is(4, 0xff, 0x15) || is(4, 0x67, 0xe8) ? 6 : undefined
}

/** `mov %fs:0, %rax`. */
const THREAD_POINTER = [0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0] as const

/** `xchg %ax, %ax`. */
const NOTHING = [0x66, 0x90] as const

/** The register that `lea x@tlsdesc(%rip)` sets: %rax as a rule, but gcc may go through another one. */
function descriptorRegister(content: Uint8Array, field: number): number | undefined {
  const [rex, opcode, modrm = 0] = content.subarray(field - 3, field)
  if ((rex !== 0x48 && rex !== 0x4c) || opcode !== 0x8d || (modrm & 0xc7) !== 0x05) return undefined
  return (rex === 0x4c ? 8 : 0) + ((modrm >> 3) & 7)
}

function toDistance(content: Uint8Array, field: number, distance: number): boolean {
  const register = descriptorRegister(content, field)
  if (register === undefined) return false
  // mov $distance, %reg
  content.set([register < 8 ? 0x48 : 0x49, 0xc7, 0xc0 + (register & 7)], field - 3)
  viewOf(content).setInt32(field, distance, true)
  return true
}

/**
 * Rewrites the access whose field is at `field` into one by a distance from the thread pointer, in place. `distance` is that of the variable
 * with the reference's addend taken out of what the field counts from; local dynamic has none: what follows it counts from the thread pointer
 * from then on. false: the bytes are no sequence that is known, and nothing was changed.
 */
export function toLocalExec(kind: EdgeKind, content: Uint8Array, field: number, distance: number): boolean {
  const view = viewOf(content)
  switch (kind) {
    case 'tpoff32':
    case 'dtpoff32':
    case 'secrel32':
      view.setInt32(field, distance, true)
      return true
    case 'tlsgd32':
      if (callOf(kind, content, field) === undefined) return false
      // lea distance(%rax), %rax
      content.set([...THREAD_POINTER, 0x48, 0x8d, 0x80], field - 4)
      view.setInt32(field + 8, distance, true)
      return true
    case 'tlsld32': {
      const call = callOf(kind, content, field)
      if (call === undefined) return false
      content.set([...(call === 5 ? [0x66, 0x66, 0x66] : [0x66, 0x66, 0x66, 0x66]), ...THREAD_POINTER], field - 3)
      return true
    }
    case 'tlsdesc32':
      return toDistance(content, field, distance)
    case 'tlsdesccall':
      if (content[field] !== 0xff || content[field + 1] !== 0x10) return false
      content.set(NOTHING, field)
      return true
    default:
      return false
  }
}

/** Architecture.linking.threadLocal.toInitialExec: the slot has the variable's distance from the thread pointer. */
export function toInitialExec(kind: EdgeKind, content: Uint8Array, field: number): SlotAccess | undefined {
  const is = (offset: number, ...bytes: readonly number[]): boolean => bytes.every((byte, i) => content[field + offset + i] === byte)
  switch (kind) {
    case 'gottpoff32':
      return { field, kind: 'pcrel32' }
    case 'tlsgd32':
      if (callOf(kind, content, field) === undefined) return undefined
      // add slot(%rip), %rax
      content.set([...THREAD_POINTER, 0x48, 0x03, 0x05, 0, 0, 0, 0], field - 4)
      return { field: field + 8, kind: 'pcrel32' }
    case 'tlsdesc32':
      if (descriptorRegister(content, field) === undefined) return undefined
      // mov slot(%rip), %reg
      content[field - 2] = 0x8b
      return { field, kind: 'pcrel32' }
    case 'tlsdesccall':
      if (!is(0, 0xff, 0x10)) return undefined
      content.set(NOTHING, field)
      return 'no-field'
    default:
      return undefined
  }
}

/** Architecture.linking.threadLocal.withSlot. */
export const withSlot = (kind: EdgeKind, field: number): SlotAccess => (kind === 'tlsdesccall' ? 'no-field' : { field, kind: 'pcrel32' })

/** Architecture.linking.threadLocal.agrees. */
export function agrees(kind: EdgeKind, image: Uint8Array, distance: number): boolean | undefined {
  return kind === 'tpoff32' && image.length >= 4 ? viewOf(image).getInt32(0, true) === distance : undefined
}
