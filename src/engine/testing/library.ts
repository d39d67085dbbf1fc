/** A shared object as it lies in memory, with names that can be looked up. */
import { DT, Elf64_Ehdr, Elf64_Phdr, PF, PT, STB, STT, STV } from '../../binary/elf/definitions.ts'
import {
  encodeDynamic,
  encodeGnuHash,
  encodeSymbols,
  gnuHashOrder,
  gnuHashSize,
  StringTableBuilder,
  symbolTableSize,
} from '../../binary/elf/tables.ts'
import type { FakeModule } from '../../process/fake/index.ts'

export interface LibraryOptions {
  readonly base: bigint
  readonly soname: string
  /** RVAs by name. */
  readonly functions: Readonly<Record<string, number>>
  /** Those that are indirect. */
  readonly indirect?: readonly string[]
  readonly needed?: readonly string[]
  /** Address of struct r_debug: it is the main program. */
  readonly debug?: bigint
}

const IDENT = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
const DYNAMIC_AT = 0x100
const TABLES_AT = 0x400
const SIZE = 0x2000

export function library({ base, soname, functions, indirect = [], needed = [], debug }: LibraryOptions): FakeModule {
  const strings = new StringTableBuilder()
  const symbols = gnuHashOrder(Object.entries(functions).map(([name, value]) => ({ name, value }))).map(({ name, value }) => ({
    name,
    binding: STB.GLOBAL,
    type: indirect.includes(name) ? STT.GNU_IFUNC : STT.FUNC,
    visibility: STV.DEFAULT,
    section: 1,
    value,
    size: 16,
  }))
  const sonameAt = strings.add(soname)
  const neededAt = needed.map((name) => strings.add(name))
  const symbolBytes = encodeSymbols(symbols, strings)
  const hashAt = TABLES_AT + symbolTableSize(symbols.length)
  const stringsAt = hashAt + Math.ceil(gnuHashSize(symbols.length) / 8) * 8
  const dynamic = encodeDynamic([
    ...neededAt.map((at) => [DT.NEEDED, at] as const),
    [DT.SONAME, sonameAt],
    [DT.SYMTAB, TABLES_AT],
    [DT.GNU_HASH, hashAt],
    [DT.STRTAB, stringsAt],
    [DT.STRSZ, strings.size],
    ...(debug === undefined ? [] : [[DT.DEBUG, Number(debug)] as const]),
  ])
  const content = new Uint8Array(SIZE)
  content.set(
    Elf64_Ehdr.encode({
      e_ident: Uint8Array.from(IDENT),
      e_type: 3,
      e_machine: 62,
      e_version: 1,
      e_entry: 0n,
      e_phoff: 64n,
      e_shoff: 0n,
      e_flags: 0,
      e_ehsize: 64,
      e_phentsize: Elf64_Phdr.size,
      e_phnum: 2,
      e_shentsize: 0,
      e_shnum: 0,
      e_shstrndx: 0,
    }),
  )
  const headers = [
    { p_type: PT.LOAD, at: 0, size: SIZE },
    { p_type: PT.DYNAMIC, at: DYNAMIC_AT, size: dynamic.length },
  ]
  headers.forEach(({ p_type, at, size }, i) => {
    const [place, bytes] = [BigInt(at), BigInt(size)]
    const header = { p_type, p_flags: PF.R, p_offset: place, p_vaddr: place, p_paddr: place, p_filesz: bytes, p_memsz: bytes, p_align: 8n }
    content.set(Elf64_Phdr.encode(header), 64 + i * Elf64_Phdr.size)
  })
  content.set(dynamic, DYNAMIC_AT)
  content.set(symbolBytes, TABLES_AT)
  content.set(encodeGnuHash(symbols, 1), hashAt)
  content.set(strings.encode(), stringsAt)
  return { path: `/usr/lib/${soname}`, base, format: 'elf', segments: [{ offset: 0, size: SIZE, protection: 'r', content }] }
}

/** struct r_debug and its list of modules, in this order, at `at`. */
export function linkMap(at: bigint, modules: readonly FakeModule[]): Uint8Array {
  const bytes = new Uint8Array(0x1000)
  const view = new DataView(bytes.buffer)
  const entry = (i: number): bigint => (i < modules.length ? at + 0x40n + BigInt(0x40 * i) : 0n)
  view.setBigUint64(8, entry(0), true)
  modules.forEach(({ base }, i) => {
    const offset = 0x40 + 0x40 * i
    view.setBigUint64(offset, base, true)
    view.setBigUint64(offset + 16, base + BigInt(DYNAMIC_AT), true)
    view.setBigUint64(offset + 24, entry(i + 1), true)
  })
  return bytes
}
