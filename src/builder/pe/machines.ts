/** What differs between COFF's processors: relocations, and records of unwind data. */
import { IMAGE_FILE_MACHINE, IMAGE_REL_AMD64, IMAGE_REL_ARM64 } from '../../binary/coff/definitions.ts'
import { RUNTIME_FUNCTION_SIZE } from '../../binary/pe/frames.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { Architecture, Machine } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { EDGE_KINDS, type EdgeKind } from '../../machine/edges.ts'
import { arm64Addend, withWholeAddends } from './addends-arm64.ts'
import { refuseHybridMachine } from './hybrid.ts'
import type { Reference } from './reference.ts'

export interface CoffMachine {
  /** IMAGE_FILE_MACHINE. */
  readonly number: number
  readonly architecture: Architecture
  /** By relocation. */
  readonly relocations: Readonly<Record<number, RelocationFacts>>
  /** Says nothing about a field. */
  readonly ignored: number
  /** The edge kind of a field whose relocation does not tell calls and jumps from other uses. */
  readonly refine: (kind: EdgeKind, code: Uint8Array, field: number) => EdgeKind
  /** What a field holds before it is linked, in the graph's convention but for what COFF counts from. Throws MALFORMED. */
  readonly addend: (kind: EdgeKind, content: Uint8Array, field: number) => number
  /** References of one section with addends of which a field holds a part completed by others'. */
  readonly whole: (references: Reference[], content: Uint8Array | undefined) => Reference[]
  readonly record: PdataRecord
}

export interface RelocationFacts {
  readonly kind: EdgeKind
  /** From the field to what its distance counts from. */
  readonly origin: number
}

/** A record of .pdata: bytes, and offsets of its fields. */
export interface PdataRecord {
  readonly size: number
  /** Of the end of the function; undefined: the record has none. */
  readonly end: number | undefined
  readonly info: number
}

const field = (kind: EdgeKind, origin = 0): RelocationFacts => ({ kind, origin })

const X64_RELOCATIONS: CoffMachine['relocations'] = {
  [IMAGE_REL_AMD64.ADDR64]: field('abs64'),
  [IMAGE_REL_AMD64.ADDR32]: field('abs32'),
  [IMAGE_REL_AMD64.ADDR32NB]: field('image32'),
  [IMAGE_REL_AMD64.REL32]: field('pcrel32', 4),
  // So many bytes the instruction has behind the field.
  [IMAGE_REL_AMD64.REL32_1]: field('pcrel32', 5),
  [IMAGE_REL_AMD64.REL32_2]: field('pcrel32', 6),
  [IMAGE_REL_AMD64.REL32_3]: field('pcrel32', 7),
  [IMAGE_REL_AMD64.REL32_4]: field('pcrel32', 8),
  [IMAGE_REL_AMD64.REL32_5]: field('pcrel32', 9),
  [IMAGE_REL_AMD64.SECTION]: field('section16'),
  [IMAGE_REL_AMD64.SECREL]: field('secrel32'),
}

const ARM64_RELOCATIONS: CoffMachine['relocations'] = {
  [IMAGE_REL_ARM64.ADDR64]: field('abs64'),
  [IMAGE_REL_ARM64.ADDR32]: field('abs32'),
  [IMAGE_REL_ARM64.ADDR32NB]: field('image32'),
  [IMAGE_REL_ARM64.REL32]: field('pcrel32', 4),
  [IMAGE_REL_ARM64.BRANCH26]: field('branch26'),
  [IMAGE_REL_ARM64.BRANCH19]: field('branch19'),
  [IMAGE_REL_ARM64.BRANCH14]: field('branch14'),
  [IMAGE_REL_ARM64.PAGEBASE_REL21]: field('page21'),
  [IMAGE_REL_ARM64.REL21]: field('adr21'),
  [IMAGE_REL_ARM64.PAGEOFFSET_12A]: field('pageoff12'),
  [IMAGE_REL_ARM64.PAGEOFFSET_12L]: field('pageoff12'),
  [IMAGE_REL_ARM64.SECTION]: field('section16'),
  [IMAGE_REL_ARM64.SECREL]: field('secrel32'),
  [IMAGE_REL_ARM64.SECREL_LOW12A]: field('secrello12'),
  [IMAGE_REL_ARM64.SECREL_HIGH12A]: field('secrelhi12'),
  [IMAGE_REL_ARM64.SECREL_LOW12L]: field('secrello12'),
}

/**
 * Whether the field is the distance of a call (E8), jump (E9) or conditional jump (0F 80..8F). A rip-relative ModRM byte, the
 * other thing that can stand before such a field, has mod 0: it is never one of those.
 */
function isX64Branch(code: Uint8Array, at: number): boolean {
  const last = code[at - 1] ?? 0
  return last === 0xe8 || last === 0xe9 || (code[at - 2] === 0x0f && last >= 0x80 && last <= 0x8f)
}

function plainAddend(kind: EdgeKind, content: Uint8Array, at: number): number {
  const { size } = EDGE_KINDS[kind]
  const view = viewOf(content)
  if (size === 2) return view.getInt16(at, true)
  if (size === 4) return view.getInt32(at, true)
  const wide = view.getBigInt64(at, true)
  if (BigInt.asIntN(53, wide) !== wide) throw new HotpatchError('MALFORMED', `the addend at offset ${at} is beyond measure`)
  return Number(wide)
}

const MACHINES: Readonly<Record<Machine, () => CoffMachine>> = {
  x64: () => ({
    number: IMAGE_FILE_MACHINE.AMD64,
    architecture: architectureOf('x64'),
    relocations: X64_RELOCATIONS,
    ignored: IMAGE_REL_AMD64.ABSOLUTE,
    refine: (kind, code, at) => (kind === 'pcrel32' && isX64Branch(code, at) ? 'branch32' : kind),
    addend: plainAddend,
    whole: (references) => references,
    record: { size: RUNTIME_FUNCTION_SIZE.x64, end: 4, info: 8 },
  }),
  arm64: () => ({
    number: IMAGE_FILE_MACHINE.ARM64,
    architecture: architectureOf('arm64'),
    relocations: ARM64_RELOCATIONS,
    ignored: IMAGE_REL_ARM64.ABSOLUTE,
    refine: (kind) => kind,
    addend: (kind, content, at) => arm64Addend(kind, content, at) ?? plainAddend(kind, content, at),
    whole: withWholeAddends,
    record: { size: RUNTIME_FUNCTION_SIZE.arm64, end: undefined, info: 4 },
  }),
}

export const coffMachineOf = (machine: Machine): CoffMachine => MACHINES[machine]()

/** Throws MACHINE_UNSUPPORTED for a machine of COFF that the builder does not patch, with its name where it has one. */
export function coffMachine(number: number, path: string): CoffMachine {
  refuseHybridMachine(number, path)
  if (number === IMAGE_FILE_MACHINE.AMD64) return coffMachineOf('x64')
  if (number === IMAGE_FILE_MACHINE.ARM64) return coffMachineOf('arm64')
  throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is for machine 0x${number.toString(16)}`)
}
