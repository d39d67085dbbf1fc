/**
 * What linkers do to x64 code (x86-64 psABI, "Linker Optimization" and "TLS linkage"): which instructions around a field they rewrite, and
 * what fields of linked code say.
 */
import { viewOf } from '../../binary/struct.ts'
import type { LinkedImage, LinkedReference, SeenTarget } from '../architecture.ts'
import { EDGE_KINDS, type EdgeKind } from '../edges.ts'

interface Relaxation {
  /** What the bytes before the field were and became: opcode, ModRM. */
  readonly name: string
  readonly matches: (object: readonly [number, number], image: readonly [number, number]) => boolean
  /** How the target is read off the field at `at` (the field's offset): the distance from its end, the address itself, or a call one byte earlier. */
  readonly field: 'relative' | 'absolute' | 'relative-one-earlier'
}

const RIP = 0x05
const isRip = (modrm: number): boolean => (modrm & 0xc7) === RIP
const register = (modrm: number): number => (modrm >> 3) & 7
const BINARY_OPERATIONS: readonly number[] = [0x03, 0x0b, 0x13, 0x1b, 0x23, 0x2b, 0x33, 0x3b]

/** R_X86_64_GOTPCRELX and REX_GOTPCRELX, as GNU ld, gold, lld and mold relax them. */
const RELAXATIONS: readonly Relaxation[] = [
  {
    name: 'mov foo@GOTPCREL(%rip), %reg → lea foo(%rip), %reg',
    matches: ([op, modrm], [op2, modrm2]) => op === 0x8b && isRip(modrm) && op2 === 0x8d && modrm2 === modrm,
    field: 'relative',
  },
  {
    name: 'mov foo@GOTPCREL(%rip), %reg → mov $foo, %reg',
    matches: ([op, modrm], [op2, modrm2]) => op === 0x8b && isRip(modrm) && op2 === 0xc7 && modrm2 === (0xc0 | register(modrm)),
    field: 'absolute',
  },
  {
    name: 'test %reg, foo@GOTPCREL(%rip) → test $foo, %reg',
    matches: ([op, modrm], [op2, modrm2]) => op === 0x85 && isRip(modrm) && op2 === 0xf7 && modrm2 === (0xc0 | register(modrm)),
    field: 'absolute',
  },
  {
    name: 'binop foo@GOTPCREL(%rip), %reg → binop $foo, %reg',
    matches: ([op, modrm], [op2, modrm2]) =>
      BINARY_OPERATIONS.includes(op) && isRip(modrm) && op2 === 0x81 && modrm2 === (0xc0 | (op & 0x38) | register(modrm)),
    field: 'absolute',
  },
  {
    name: 'call *foo@GOTPCREL(%rip) → addr32 call foo',
    matches: ([op, modrm], [op2, modrm2]) => op === 0xff && modrm === 0x15 && op2 === 0x67 && modrm2 === 0xe8,
    field: 'relative',
  },
  {
    name: 'call *foo@GOTPCREL(%rip) → call foo; nop',
    matches: ([op, modrm], [op2]) => op === 0xff && modrm === 0x15 && op2 === 0xe8,
    field: 'relative-one-earlier',
  },
  {
    name: 'jmp *foo@GOTPCREL(%rip) → jmp foo; nop',
    matches: ([op, modrm], [op2]) => op === 0xff && modrm === 0x25 && op2 === 0xe9,
    field: 'relative-one-earlier',
  },
]

/** How the linker rewrote the instruction of a GOT field; undefined: not at all. `found` are the image's bytes, `at` the field there. */
function relaxationOf(content: Uint8Array, offset: number, found: Uint8Array, at: number): Relaxation | undefined {
  if (offset < 2 || at < 2) return undefined
  const object = [content[offset - 2] as number, content[offset - 1] as number] as const
  const image = [found[at - 2] as number, found[at - 1] as number] as const
  return RELAXATIONS.find((r) => r.matches(object, image))
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
  // General and local dynamic sequences become up to 12 bytes of local exec behind and 4 before the field.
  if (kind === 'tlsdesccall') ignored.fill(0xff, field, field + EDGE_KINDS[kind].size)
  else if (threadLocal && EDGE_KINDS[kind].pcRelative) ignored.fill(0xff, Math.max(0, field - 4), field + 12)
  else if (kind === 'gotpcrel32' && relaxationOf(content, field, image, at) !== undefined)
    ignored.fill(0xff, Math.max(0, field - 3), field + 4)
}

/** Architecture.linking.seen. */
export function seen(reference: LinkedReference, image: LinkedImage): SeenTarget | undefined {
  const { kind, place, addend } = reference
  const bytes = image.bytes(place - 2, EDGE_KINDS[kind].size + 2)
  if (bytes === undefined) return undefined
  const view = viewOf(bytes)
  switch (kind) {
    case 'branch32':
      return { at: 'rva', rva: place + view.getInt32(2, true) - addend }
    case 'abs32s':
      return image.relocatable ? undefined : { at: 'rva', rva: view.getUint32(2, true) - Number(image.preferredBase) - addend }
    case 'gotpcrel32':
      return seenThroughGot(reference, image, bytes)
    default:
      return undefined
  }
}

function seenThroughGot({ content, field, place, addend }: LinkedReference, image: LinkedImage, bytes: Uint8Array): SeenTarget {
  const view = viewOf(bytes)
  const relaxation = content === undefined ? undefined : relaxationOf(content, field, bytes, 2)
  switch (relaxation?.field) {
    case 'relative':
      return { at: 'rva', rva: place + 4 + view.getInt32(2, true) }
    case 'relative-one-earlier':
      return { at: 'rva', rva: place + 3 + view.getInt32(1, true) }
    case 'absolute':
      return { at: 'rva', rva: view.getUint32(2, true) - Number(image.preferredBase) }
    default:
      return { at: 'slot', rva: place + view.getInt32(2, true) - addend }
  }
}

/** Architecture.linking.slotOfStub: `[endbr64] [bnd] jmp *slot(%rip)`. */
export function slotOfStub(image: LinkedImage, rva: number): number | undefined {
  for (const skipped of [0, 1, 4, 5]) {
    const bytes = image.bytes(rva, skipped + 6)
    if (bytes === undefined) return undefined
    if (bytes[skipped] !== 0xff || bytes[skipped + 1] !== 0x25) continue
    const prefix = [...bytes.subarray(0, skipped)].map((x) => x.toString(16)).join(' ')
    if (!STUB_PREFIXES.has(prefix)) continue
    return rva + skipped + 6 + viewOf(bytes).getInt32(skipped + 2, true)
  }
  return undefined
}

/** Nothing, `bnd`, `endbr64`, `endbr64; bnd`. */
const STUB_PREFIXES: ReadonlySet<string> = new Set(['', 'f2', 'f3 f 1e fa', 'f3 f 1e fa f2'])

/** Architecture.linking.jumpsThrough: `call *slot(%rip)` and `jmp *slot(%rip)`. */
export function jumpsThrough(content: Uint8Array | undefined, field: number): boolean {
  const [opcode, modrm] = [content?.[field - 2], content?.[field - 1]]
  return opcode === 0xff && (modrm === 0x15 || modrm === 0x25)
}

/** `8D /r`: lea. */
const LEA = 0x8d

/** Architecture.linking.loadInstead: `lea foo(%rip), %reg`, 64 bits wide, becomes `mov slot(%rip), %reg`. */
export function loadInstead(content: Uint8Array | undefined, field: number): boolean {
  const [rex, opcode, modrm] = [content?.[field - 3], content?.[field - 2], content?.[field - 1]]
  if (content === undefined || rex === undefined || modrm === undefined) return false
  if ((rex & 0xfb) !== 0x48 || opcode !== 0x8d || (modrm & 0xc7) !== 0x05) return false
  content[field - 2] = 0x8b
  return true
}

/** Architecture.linking.isAccess: the operand is memory relative to rip, and it is no `lea`. */
export function isAccess(kind: EdgeKind, content: Uint8Array | undefined, field: number): boolean {
  const [opcode, modrm] = [content?.[field - 2], content?.[field - 1]]
  return kind === 'pcrel32' && opcode !== undefined && modrm !== undefined && isRip(modrm) && opcode !== LEA
}
