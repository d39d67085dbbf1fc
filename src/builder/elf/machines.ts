/** ELF's relocations by processor: which edge kind each number of an object means, and those that the builder asks for by name. */
import { EM, R_AARCH64, R_X86_64 } from '../../binary/elf/definitions.ts'
import { HotpatchError } from '../../errors.ts'
import type { Architecture } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import { EDGE_KINDS, type EdgeKind } from '../../machine/edges.ts'

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
  readonly irelative: number
  /** Of slots for thread-local data: the module's number, a distance from the thread pointer, a descriptor, an offset in the module's block. */
  readonly threadLocal: { readonly module: number; readonly distance: number; readonly descriptor: number; readonly offset: number }
  /** From the thread pointer to the block of a program, whose segment PT_TLS is given ("ELF Handling For Thread-Local Storage", 3). */
  readonly ownBlock: (segment: ThreadLocalSegment) => number
  /** The edge kind of a field whose relocation does not tell calls and jumps from other uses. */
  readonly refine: (kind: EdgeKind, code: Uint8Array, field: number) => EdgeKind
  /** Whether a reference through a section's symbol from code to data may mean something else than what lies where it points. */
  readonly isVague: (kind: EdgeKind, isAnonymous: boolean) => boolean
  /** Symbols of a compiler's, for a place that it counts from. */
  readonly isAnchor: (name: string) => boolean
  /** Symbols that only say what the bytes from there on are. */
  readonly isMapping: (name: string) => boolean
}

/** PT_TLS, in bytes; alignment at least 1. */
export interface ThreadLocalSegment {
  readonly vaddr: bigint
  readonly memsz: number
  readonly align: number
}

const remainder = (value: number, unit: number): number => ((value % unit) + unit) % unit

/** Variant II: it ends at the thread pointer or a little before. Its start is as aligned, up to that of the segment in the file. */
const beforeThreadPointer = ({ vaddr, memsz, align }: ThreadLocalSegment): number =>
  -(memsz + remainder(-Number(vaddr % BigInt(align)) - memsz, align))

/** Variant I: it comes behind two words for the thread library, as aligned as in the file. */
const behindThreadPointer = ({ vaddr, align }: ThreadLocalSegment): number => 16 + remainder(Number(vaddr % BigInt(align)) - 16, align)

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
  [R_X86_64.GOTPC32_TLSDESC]: 'tlsdesc32',
  [R_X86_64.TLSDESC_CALL]: 'tlsdesccall',
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
  irelative: R_X86_64.IRELATIVE,
  threadLocal: {
    module: R_X86_64.DTPMOD64,
    distance: R_X86_64.TPOFF64,
    descriptor: R_X86_64.TLSDESC,
    offset: R_X86_64.DTPOFF64,
  },
  ownBlock: beforeThreadPointer,
  refine: (kind, code, field) => (kind === 'pcrel32' && isX64Branch(code, field) ? 'branch32' : kind),
  // An indexed operand with its table's address in 32 bits may have been shifted to before the table (`t - 4(,%rax,4)`).
  isVague: (kind, isAnonymous) => !EDGE_KINDS[kind].pcRelative && EDGE_KINDS[kind].size === 4 && isAnonymous,
  isAnchor: () => false,
  isMapping: () => false,
})

/** "ELF for the Arm 64-bit Architecture", 5.7.12: relocations of thread-local sequences. */
const ARM64_TLS: Readonly<Partial<Record<EdgeKind, readonly number[]>>> = {
  tprelhi12: [R_AARCH64.TLSLE_ADD_TPREL_HI12],
  tprello12: [R_AARCH64.TLSLE_ADD_TPREL_LO12_NC, 553, 555, 557, 559, 571],
  tprel12: [R_AARCH64.TLSLE_ADD_TPREL_LO12, 552, 554, 556, 558, 570],
  tprelmovw16: [544, 545, 546, 547, 548],
  gottprelpage21: [R_AARCH64.TLSIE_ADR_GOTTPREL_PAGE21],
  gottprello12: [R_AARCH64.TLSIE_LD64_GOTTPREL_LO12_NC],
  tlsgdpage21: [R_AARCH64.TLSGD_ADR_PAGE21],
  tlsgdlo12: [R_AARCH64.TLSGD_ADD_LO12_NC],
  tlsdescpage21: [R_AARCH64.TLSDESC_ADR_PAGE21],
  tlsdesclo12: [R_AARCH64.TLSDESC_LD64_LO12, R_AARCH64.TLSDESC_ADD_LO12],
  tlsdescblr: [R_AARCH64.TLSDESC_CALL],
  // Local dynamic, and what the tiny and the large code model choose.
  tlspage21: [512, 517, 518, 561],
  tlsmovw16: [515, 516, 520, 521, 523, 524, 525, 526, 527, 539, 540, 565, 566],
}
const TLS_RANGE = { first: 512, last: 573 } as const

function arm64TlsKinds(): Record<number, EdgeKind> {
  const kinds: Record<number, EdgeKind> = {}
  for (let type: number = TLS_RANGE.first; type <= TLS_RANGE.last; type++) kinds[type] = 'tlsoff12'
  for (const [kind, types] of Object.entries(ARM64_TLS)) for (const type of types) kinds[type] = kind as EdgeKind
  return kinds
}

const ARM64_KINDS: Readonly<Record<number, EdgeKind>> = {
  ...arm64TlsKinds(),
  [R_AARCH64.ABS64]: 'abs64',
  [R_AARCH64.ABS32]: 'abs32',
  [R_AARCH64.PREL64]: 'pcrel64',
  [R_AARCH64.PREL32]: 'pcrel32',
  [R_AARCH64.PLT32]: 'pcrel32',
  [R_AARCH64.MOVW_UABS_G0]: 'movw16',
  [R_AARCH64.MOVW_UABS_G0_NC]: 'movw16',
  [R_AARCH64.MOVW_UABS_G1]: 'movw16',
  [R_AARCH64.MOVW_UABS_G1_NC]: 'movw16',
  [R_AARCH64.MOVW_UABS_G2]: 'movw16',
  [R_AARCH64.MOVW_UABS_G2_NC]: 'movw16',
  [R_AARCH64.MOVW_UABS_G3]: 'movw16',
  [R_AARCH64.LD_PREL_LO19]: 'literal19',
  [R_AARCH64.ADR_PREL_LO21]: 'adr21',
  [R_AARCH64.ADR_PREL_PG_HI21]: 'page21',
  [R_AARCH64.ADR_PREL_PG_HI21_NC]: 'page21',
  [R_AARCH64.ADD_ABS_LO12_NC]: 'pageoff12',
  [R_AARCH64.LDST8_ABS_LO12_NC]: 'pageoff12',
  [R_AARCH64.LDST16_ABS_LO12_NC]: 'pageoff12',
  [R_AARCH64.LDST32_ABS_LO12_NC]: 'pageoff12',
  [R_AARCH64.LDST64_ABS_LO12_NC]: 'pageoff12',
  [R_AARCH64.LDST128_ABS_LO12_NC]: 'pageoff12',
  [R_AARCH64.TSTBR14]: 'branch14',
  [R_AARCH64.CONDBR19]: 'branch19',
  [R_AARCH64.JUMP26]: 'branch26',
  [R_AARCH64.CALL26]: 'branch26',
  [R_AARCH64.ADR_GOT_PAGE]: 'gotpage21',
  [R_AARCH64.LD64_GOT_LO12_NC]: 'gotpageoff12',
  [R_AARCH64.LD64_GOTPAGE_LO15]: 'gotoffset15',
}

const arm64 = (): ElfMachine => ({
  em: EM.AARCH64,
  architecture: architectureOf('arm64'),
  kinds: ARM64_KINDS,
  // 256: R_AARCH64_NONE of older versions.
  ignored: new Set([R_AARCH64.NONE, 256]),
  address: R_AARCH64.ABS64,
  relative: R_AARCH64.RELATIVE,
  jumpSlot: R_AARCH64.JUMP_SLOT,
  globDat: R_AARCH64.GLOB_DAT,
  copy: R_AARCH64.COPY,
  irelative: R_AARCH64.IRELATIVE,
  threadLocal: {
    module: R_AARCH64.TLS_DTPMOD,
    distance: R_AARCH64.TLS_TPREL,
    descriptor: R_AARCH64.TLSDESC,
    offset: R_AARCH64.TLS_DTPREL,
  },
  ownBlock: behindThreadPointer,
  refine: (kind) => kind,
  // gcc reaches all variables of a section from one place in it (-fsection-anchors), and adds their distances itself.
  isVague: () => true,
  // Relocations of thread-local data keep their symbols; of other data gas makes them the section's.
  isAnchor: (name) => /^\.LANCHOR\d+$/.test(name),
  isMapping: (name) => /^\$[xd](\.|$)/.test(name),
})

const MACHINES: ReadonlyMap<number, () => ElfMachine> = new Map<number, () => ElfMachine>([
  [EM.X86_64, x64],
  [EM.AARCH64, arm64],
])

/** Throws MACHINE_UNSUPPORTED, with the file's `path` in it. */
export function elfMachine(em: number, path: string): ElfMachine {
  const machine = MACHINES.get(em)
  if (machine === undefined) throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is for machine ${em}`)
  return machine()
}
