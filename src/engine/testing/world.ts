/** A process and a patch for it, small and wholly known: three functions, one for each kind of redirect. */
import { createHash } from 'node:crypto'
import { Elf64_Ehdr, Elf64_Phdr, NT_GNU, PF, PT } from '../../binary/elf/definitions.ts'
import { encodeNote } from '../../binary/elf/notes.ts'
import type { PatchImage } from '../../patch/image.ts'
import type { Manifest } from '../../patch/manifest.ts'
import type { HotPatchChunk } from '../../patch/table.ts'
import type { Process } from '../../process/contract.ts'
import { type FakeModule, FakeTarget } from '../../process/fake/index.ts'

export const BASE = 0x5555_0000_0000n
export const BUILD_ID = '00112233445566778899aabbccddeeff00112233'

/** RVAs in the base image. */
export const RVA = { padded: 0x1010, nopped: 0x1060, plain: 0x1080, variable: 0x3000, slot: 0x3008 } as const

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

const CODE = {
  // sub rsp,8; mov eax,1; add rsp,8; ret
  padded: hex('48 83 ec 08 b8 01 00 00 00 48 83 c4 08 c3'),
  // nop; nop; mov eax,2; ret
  nopped: hex('90 90 b8 02 00 00 00 c3'),
  // xor eax,eax; mov eax,3; ret
  plain: hex('31 c0 b8 03 00 00 00 c3'),
} as const

const NAMES = ['padded', 'nopped', 'plain'] as const
const KINDS = { padded: 'padding', nopped: 'entry-nops', plain: 'first-bytes' } as const
/** RVAs in the patch image. */
export const PATCH_RVA = {
  padded: 0x1000,
  nopped: 0x1040,
  plain: 0x1080,
  callout: 0x1100,
  reference: 0x1084,
  slot: 0x20,
  indirect: 0x28,
  self: 0x30,
  imports: 0x40,
  threadLocal: 0x180,
} as const

/** What the variable's neighbour, an import slot, holds. */
export const IMPORTED = 0x7fff_1234_5678n

export interface ModuleOptions {
  readonly base?: bigint
  /** null: the image has none. */
  readonly buildId?: string | null
  readonly path?: string
}

export function baseModule(options: ModuleOptions = {}): FakeModule {
  const header = new Uint8Array(0x1000)
  const ident = hex('7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00')
  const { buildId = BUILD_ID } = options
  const note = buildId === null ? encodeNote('none', 1, new Uint8Array(4)) : encodeNote('GNU', NT_GNU.BUILD_ID, Buffer.from(buildId, 'hex'))
  const segments = [
    { p_type: PT.LOAD, p_flags: PF.R, at: 0, size: 0x1000 },
    { p_type: PT.LOAD, p_flags: PF.R | PF.X, at: 0x1000, size: 0x2000 },
    { p_type: PT.LOAD, p_flags: PF.R | PF.W, at: 0x3000, size: 0x1000 },
    { p_type: PT.NOTE, p_flags: PF.R, at: 0x200, size: note.length },
  ]
  header.set(
    Elf64_Ehdr.encode({
      e_ident: ident,
      e_type: 3,
      e_machine: 62,
      e_version: 1,
      e_entry: 0n,
      e_phoff: 64n,
      e_shoff: 0n,
      e_flags: 0,
      e_ehsize: 64,
      e_phentsize: Elf64_Phdr.size,
      e_phnum: segments.length,
      e_shentsize: 0,
      e_shnum: 0,
      e_shstrndx: 0,
    }),
  )
  segments.forEach(({ p_type, p_flags, at, size }, i) => {
    const [p_offset, p_filesz] = [BigInt(at), BigInt(size)]
    const phdr = { p_type, p_flags, p_offset, p_vaddr: p_offset, p_paddr: p_offset, p_filesz, p_memsz: p_filesz, p_align: 4n }
    header.set(Elf64_Phdr.encode(phdr), 64 + i * Elf64_Phdr.size)
  })
  header.set(note, 0x200)

  const text = new Uint8Array(0x2000).fill(0xcc)
  for (const name of NAMES) text.set(CODE[name], RVA[name] - 0x1000)
  text.fill(0x90, RVA.padded - 0x1010, RVA.padded - 0x1000)
  text.fill(0x90, RVA.nopped - 0x1010, RVA.nopped - 0x1000)
  const data = new Uint8Array(0x1000)
  new DataView(data.buffer).setBigUint64(RVA.slot - 0x3000, IMPORTED, true)
  return {
    path: options.path ?? '/usr/lib/libserver.so',
    base: options.base ?? BASE,
    format: 'elf',
    segments: [
      { offset: 0, size: 0x1000, protection: 'r', content: header },
      { offset: 0x1000, size: 0x2000, protection: 'rx', content: text },
      { offset: 0x3000, size: 0x1000, protection: 'rw', content: data },
    ],
  }
}

export const newTarget = (pid = 7, modules: readonly FakeModule[] = [baseModule()]): FakeTarget =>
  new FakeTarget({
    pid,
    name: 'server',
    modules,
    threads: [
      { id: pid, name: 'server', instructionPointer: 0x7000_0000_0000n, stackPointer: 0x7000_1000_0000n },
      { id: pid + 1, name: 'worker', instructionPointer: 0x7000_0000_0010n, stackPointer: 0x7000_2000_0000n },
    ],
  })

export interface PatchOptions {
  readonly id?: string
  readonly sequence?: number
  /** Distinguishes patches of one id. */
  readonly content?: number
  readonly functions?: readonly FunctionName[]
  /** Variables in its writable memory, which begins at RVA 0x2000. */
  readonly data?: Manifest['added']
  /** It has a callback, at PATCH_RVA.callout. */
  readonly callout?: boolean
  readonly escapes?: Manifest['escapes']
  /** Names that it imports, each into a pointer of its read-only memory, from PATCH_RVA.imports on. */
  readonly imports?: readonly { readonly name: string; readonly library: string }[]
  /** Thread-local variables of 8 bytes, with what each begins with; a pointer with the distance of each lies at PATCH_RVA.imports. */
  readonly threadLocals?: Readonly<Record<string, number>>
}

export type FunctionName = (typeof NAMES)[number]

export function newPatch({
  id = 'server-1',
  sequence = 1,
  content = 1,
  functions = NAMES,
  data = [],
  callout = false,
  escapes,
  imports = [],
  threadLocals = {},
}: PatchOptions = {}): PatchImage {
  const variables = Object.entries(threadLocals)
  const initial = Uint8Array.from(variables.flatMap(([, value]) => [value, 0, 0, 0, 0, 0, 0, 0]))
  const readOnly = new Uint8Array(0x1000).fill(content, 0x100)
  const code = new Uint8Array(0x1000).fill(0xcc)
  // mov eax,imm32; ret
  functions.forEach((name, i) => {
    code.set(hex('b8 0a 00 00 00 c3'), PATCH_RVA[name] - 0x1000)
    code[PATCH_RVA[name] - 0x1000 + 1] = 10 + i
  })
  const bytes = (name: keyof typeof CODE) => new DataView(CODE[name].buffer).getUint32(0, true)
  const inverse = (type: HotPatchChunk['type'], source: number, target: number): HotPatchChunk => ({
    type,
    inverse: true,
    obligatory: false,
    records: [{ source, target, extras: [0] }],
  })
  return {
    format: 'elf',
    machine: 'x64',
    imageSize: 0x3000,
    segments: [
      { rva: 0, size: 0x1000, protection: 'r', content: readOnly },
      { rva: 0x1000, size: 0x1000, protection: 'rx', content: code },
      { rva: 0x2000, size: 0x1000, protection: 'rw', content: Uint8Array.of(content) },
    ],
    table: {
      version: 3,
      sequenceNumber: sequence,
      bufferOffset: 0,
      extraPatchSize: 1,
      minSequenceNumber: 0,
      flags: 0,
      bases: [
        {
          sequenceNumber: sequence,
          flags: 2 | (2 << 2),
          originalTimeDateStamp: 0x33221100,
          originalCheckSum: 0x77665544,
          hashes: undefined,
          bufferOffset: 0,
          chunks: [
            {
              type: 'FUNCTION',
              inverse: false,
              obligatory: true,
              records: functions.map((name) => ({ source: RVA[name], target: PATCH_RVA[name], extras: [bytes(name)] })),
            },
            inverse('ABSOLUTE', PATCH_RVA.slot, RVA.variable),
            inverse('REL32', PATCH_RVA.reference + 4, RVA.variable),
            inverse('INDIRECT', PATCH_RVA.indirect, RVA.slot),
          ],
        },
      ],
    },
    manifest: {
      format: 1,
      id,
      description: 'a test',
      cves: ['CVE-2026-0001'],
      sequence,
      tool: 'test',
      base: { name: 'libserver.so', buildId: BUILD_ID, textSha256: '00'.repeat(32), imageSize: 0x4000 },
      functions: functions.map((name) => ({
        name,
        file: `${name}.c`,
        rva: RVA[name],
        size: CODE[name].length,
        patchRva: PATCH_RVA[name],
        patchSize: 6,
        redirect: KINDS[name],
      })),
      added: [
        ...data,
        ...variables.map(([name], i) => ({ name, kind: 'thread-local' as const, patchRva: PATCH_RVA.threadLocal + 8 * i, size: 8 })),
      ],
      ...(callout ? { callout: PATCH_RVA.callout } : {}),
      ...(escapes ? { escapes } : {}),
      imports: [],
    },
    relativeRelocations: [{ rva: PATCH_RVA.self, addend: 0x1000n }],
    libraries: [...new Set(imports.map(({ library }) => library))],
    imports: imports.map(({ name, library }, i) => ({ rva: PATCH_RVA.imports + 8 * i, name, library, version: undefined })),
    threadLocal:
      variables.length === 0
        ? undefined
        : {
            rva: PATCH_RVA.threadLocal,
            size: initial.length,
            alignment: 8,
            content: initial,
            distances: variables.map((_, i) => ({ rva: PATCH_RVA.imports + 8 * i, target: PATCH_RVA.threadLocal + 8 * i })),
          },
    unwind: { kind: 'eh_frame', rva: 0x800, size: 0x40, headerRva: 0x880 },
    fileSha256: new Uint8Array(32).fill(content + sequence * 16),
  }
}

/** Every byte of the process that was there before hotpatch was: the code as text, the rest as its hash. */
export function snapshot(target: FakeTarget): string {
  const module = target.modules()[0]
  const bytes = (module && target.peek(module.base, module.size)) ?? new Uint8Array()
  const hash = createHash('sha256').update(bytes).digest('hex')
  return `${Buffer.from(bytes.subarray(0x1000, 0x1090)).toString('hex')} ${hash}`
}

/** hotpatch's own memory in the process. */
export const ownRegions = (target: FakeTarget) => target.regions().filter((region) => region.name.startsWith('hotpatch:'))

/** Where a call of `entry` ends up, through jumps only. */
export function follow(process: Process, entry: bigint): bigint {
  let at = entry
  for (let hops = 0; hops < 4; hops++) {
    const code = Buffer.from(process.read(at, 8))
    if (code[0] === 0xeb) at += 2n + BigInt(code.readInt8(1))
    else if (code[0] === 0xe9) at += 5n + BigInt(code.readInt32LE(1))
    else if (code[0] === 0xff && code[1] === 0x25)
      return Buffer.from(process.read(at + 6n + BigInt(code.readInt32LE(2)), 8)).readBigUInt64LE()
    else return at
  }
  return at
}

/** The bytes of a function and of the padding before it. */
export const bytesAround = (target: FakeTarget, name: FunctionName): string =>
  Buffer.from(target.peek(BASE + BigInt(RVA[name] - 0x10), 0x10 + CODE[name].length) ?? []).toString('hex')
