/** ELF's relocations by processor: which edge kind each number of an object means, and those that the builder asks for by name. */
import { EM, R_X86_64 } from '../../binary/elf/definitions.ts'
import { HotpatchError } from '../../errors.ts'
import type { Architecture } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { EdgeKind } from '../../machine/edges.ts'

export interface ElfMachine {
  /** Of the ELF header. */
  readonly em: number
  readonly architecture: Architecture
  readonly kinds: Readonly<Record<number, EdgeKind>>
  /** Relocations that say nothing about a field. */
  readonly ignored: ReadonlySet<number>
  /** An 8-byte address. */
  readonly address: number
  readonly relative: number
  readonly jumpSlot: number
  readonly globDat: number
  readonly copy: number
  /** The edge kind of a field whose relocation does not tell calls and jumps from other uses. */
  readonly refine: (kind: EdgeKind, code: Uint8Array, field: number) => EdgeKind
}

const X64_KINDS: Readonly<Record<number, EdgeKind>> = {
  [R_X86_64['64']]: 'abs64',
  [R_X86_64.PC32]: 'pcrel32',
  [R_X86_64.PLT32]: 'pcrel32',
  [R_X86_64['32']]: 'abs32',
  [R_X86_64['32S']]: 'abs32s',
  [R_X86_64.PC64]: 'pcrel64',
  [R_X86_64.GOTPCREL]: 'gotpcrel32',
  [R_X86_64.GOTPCRELX]: 'gotpcrel32',
  [R_X86_64.REX_GOTPCRELX]: 'gotpcrel32',
  [R_X86_64.TLSGD]: 'tlsgd32',
  [R_X86_64.TLSLD]: 'tlsld32',
  [R_X86_64.DTPOFF32]: 'dtpoff32',
  [R_X86_64.GOTTPOFF]: 'gottpoff32',
  [R_X86_64.TPOFF32]: 'tpoff32',
  [R_X86_64.SIZE32]: 'size32',
  [R_X86_64.SIZE64]: 'size64',
}

/** E8 call and E9 jmp, 0F 80 to 0F 8F conditional jumps. A RIP-relative ModRM byte (mod 00, r/m 101) is none of these. */
function isX64Branch(code: Uint8Array, field: number): boolean {
  const last = code[field - 1] ?? 0
  return last === 0xe8 || last === 0xe9 || ((last & 0xf0) === 0x80 && code[field - 2] === 0x0f)
}

const x64 = (): ElfMachine => ({
  em: EM.X86_64,
  architecture: architectureOf('x64'),
  kinds: X64_KINDS,
  ignored: new Set([R_X86_64.NONE]),
  address: R_X86_64['64'],
  relative: R_X86_64.RELATIVE,
  jumpSlot: R_X86_64.JUMP_SLOT,
  globDat: R_X86_64.GLOB_DAT,
  copy: R_X86_64.COPY,
  refine: (kind, code, field) => (kind === 'pcrel32' && isX64Branch(code, field) ? 'branch32' : kind),
})

const MACHINES: ReadonlyMap<number, () => ElfMachine> = new Map([[EM.X86_64, x64]])

/** Throws MACHINE_UNSUPPORTED, with the file's `path` in it. */
export function elfMachine(em: number, path: string): ElfMachine {
  const machine = MACHINES.get(em)
  if (machine === undefined) throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is for machine ${em}`)
  return machine()
}
