/** The dynamic section and what it leads to, by address alone: works on a file without section headers and on a process' memory. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { DF, DF_1, DT, Elf64_Dyn, Elf64_Rel, Elf64_Rela, Elf64_Sym, GnuHashHeader } from './definitions.ts'
import { type ElfRelocation, readRel, readRela, readRelr } from './relocations.ts'
import { type StringTable, stringTable } from './strings.ts'

/** Bytes by the addresses that the program headers give. */
export interface AddressedBytes {
  /** Throws TRUNCATED, naming `what`, where they are not all there. */
  at(address: bigint, length: number, what: string): Uint8Array
  /** How many bytes there are from `address` on; 0 where it is not mapped. */
  available(address: bigint): number
}

export interface DynamicEntry {
  /** DT. */
  readonly tag: number
  /** Addresses are the file's, also when they were read from memory in which the loader had rebased them. */
  readonly value: bigint
}

export interface ElfDynamic {
  /** Without the DT_NULLs at the end. */
  readonly entries: readonly DynamicEntry[]
  readonly needed: readonly string[]
  readonly soname: string | undefined
  /** The folders of DT_RUNPATH, or of DT_RPATH where there is none. */
  readonly searchPaths: readonly string[]
  /** DF_BIND_NOW, DF_1_NOW or DT_BIND_NOW: the loader binds everything before the program starts. */
  readonly bindNow: boolean
  /** DT_TEXTREL: the loader writes relocations into text. */
  readonly textRelocations: boolean
  /** The first entry of a tag. */
  value(tag: number): bigint | undefined
}

export interface DynamicRelocations {
  /** DT_RELA and DT_REL. */
  readonly ordinary: readonly ElfRelocation[]
  /** DT_JMPREL. */
  readonly plt: readonly ElfRelocation[]
  /** DT_RELR: addresses of fields to which the load bias is added. */
  readonly relr: readonly number[]
}

export function readEntries(data: Uint8Array): DynamicEntry[] {
  const view = viewOf(data)
  const entries: DynamicEntry[] = []
  for (let at = 0; at + Elf64_Dyn.size <= data.length; at += Elf64_Dyn.size) {
    const { d_tag, d_val } = Elf64_Dyn.read(view, at)
    if (d_tag === BigInt(DT.NULL)) break
    entries.push({ tag: Number(d_tag), value: d_val })
  }
  return entries
}

const entryValue = (entries: readonly DynamicEntry[], tag: number): bigint | undefined => entries.find((e) => e.tag === tag)?.value

/** A length from the file, bounded by what is there. */
const lengthAt = (space: AddressedBytes, address: bigint, length: bigint, what: string): number => {
  if (length > BigInt(space.available(address)))
    throw new HotpatchError(
      'TRUNCATED',
      `${what} at address 0x${address.toString(16)} claims ${length} bytes, there are ${space.available(address)}`,
    )
  return Number(length)
}

function bytesOf(space: AddressedBytes, entries: readonly DynamicEntry[], addressTag: number, sizeTag: number, what: string): Uint8Array {
  const address = entryValue(entries, addressTag)
  const size = entryValue(entries, sizeTag)
  if (address === undefined || size === undefined || size === 0n) return new Uint8Array(0)
  return space.at(address, lengthAt(space, address, size, what), what)
}

/** DT_STRTAB. Throws TRUNCATED. */
export const dynamicStrings = (space: AddressedBytes, entries: readonly DynamicEntry[]): StringTable =>
  stringTable(bytesOf(space, entries, DT.STRTAB, DT.STRSZ, 'the dynamic string table'), 'the dynamic string table')

export function describeDynamic(entries: readonly DynamicEntry[], strings: StringTable): ElfDynamic {
  const flag = (tag: number, bit: number): boolean => ((entryValue(entries, tag) ?? 0n) & BigInt(bit)) !== 0n
  const soname = entryValue(entries, DT.SONAME)
  const runpath = entryValue(entries, DT.RUNPATH) ?? entryValue(entries, DT.RPATH)
  return {
    entries,
    needed: entries.filter((e) => e.tag === DT.NEEDED).map((e) => strings(Number(e.value))),
    soname: soname === undefined ? undefined : strings(Number(soname)),
    searchPaths:
      runpath === undefined
        ? []
        : strings(Number(runpath))
            .split(':')
            .filter((folder) => folder !== ''),
    bindNow: flag(DT.FLAGS, DF.BIND_NOW) || flag(DT.FLAGS_1, DF_1.NOW) || entryValue(entries, DT.BIND_NOW) !== undefined,
    textRelocations: entryValue(entries, DT.TEXTREL) !== undefined || flag(DT.FLAGS, DF.TEXTREL),
    value: (tag) => entryValue(entries, tag),
  }
}

/** The tables of DT_RELA, DT_REL, DT_JMPREL and DT_RELR. Throws TRUNCATED, MALFORMED. */
export function readDynamicRelocations(space: AddressedBytes, entries: readonly DynamicEntry[]): DynamicRelocations {
  const table = (address: number, size: number): Uint8Array => bytesOf(space, entries, address, size, 'a dynamic relocation table')
  const entrySizes = [
    [DT.RELAENT, Elf64_Rela.size],
    [DT.RELENT, Elf64_Rel.size],
    [DT.SYMENT, Elf64_Sym.size],
  ] as const
  for (const [tag, size] of entrySizes) {
    const claimed = entryValue(entries, tag)
    if (claimed !== undefined && claimed !== BigInt(size))
      throw new HotpatchError('MALFORMED', `the dynamic section claims entries of ${claimed} bytes where the format has ${size}`)
  }
  const plt = table(DT.JMPREL, DT.PLTRELSZ)
  return {
    ordinary: [...readRela(table(DT.RELA, DT.RELASZ)), ...readRel(table(DT.REL, DT.RELSZ))],
    plt: entryValue(entries, DT.PLTREL) === BigInt(DT.REL) ? readRel(plt) : readRela(plt),
    relr: readRelr(table(DT.RELR, DT.RELRSZ)),
  }
}

/** How many symbols DT_HASH or DT_GNU_HASH account for. Undefined symbols behind the last hashed one are not counted. */
function hashedSymbolCount(space: AddressedBytes, entries: readonly DynamicEntry[]): number {
  const hash = entryValue(entries, DT.HASH)
  if (hash !== undefined) return viewOf(space.at(hash, 8, 'DT_HASH')).getUint32(4, true)
  const gnu = entryValue(entries, DT.GNU_HASH)
  if (gnu === undefined) return 0
  const { nbuckets, symoffset, bloom_size } = GnuHashHeader.readAt(space.at(gnu, GnuHashHeader.size, 'DT_GNU_HASH'), 0)
  const bucketsAt = gnu + BigInt(GnuHashHeader.size) + 8n * BigInt(bloom_size)
  const buckets = viewOf(
    space.at(bucketsAt, lengthAt(space, bucketsAt, 4n * BigInt(nbuckets), 'the buckets of DT_GNU_HASH'), 'DT_GNU_HASH'),
  )
  let last = 0
  for (let i = 0; i < nbuckets; i++) last = Math.max(last, buckets.getUint32(i * 4, true))
  if (last < symoffset) return symoffset
  const chainsAt = bucketsAt + 4n * BigInt(nbuckets)
  const first = chainsAt + 4n * BigInt(last - symoffset)
  const chain = viewOf(space.at(first, space.available(first) & ~3, 'the chains of DT_GNU_HASH'))
  for (let i = 0; i * 4 < chain.byteLength; i++) if (chain.getUint32(i * 4, true) & 1) return last + i + 1
  throw new HotpatchError('TRUNCATED', 'the last chain of DT_GNU_HASH has no end')
}

/** DT_SYMTAB, whose length only the hash tables and the relocations tell. Throws TRUNCATED, MALFORMED. */
export function dynamicSymbolBytes(space: AddressedBytes, entries: readonly DynamicEntry[], relocations: DynamicRelocations): Uint8Array {
  const address = entryValue(entries, DT.SYMTAB)
  if (address === undefined) return new Uint8Array(0)
  let count = hashedSymbolCount(space, entries)
  for (const r of relocations.ordinary) count = Math.max(count, r.symbol + 1)
  for (const r of relocations.plt) count = Math.max(count, r.symbol + 1)
  return space.at(
    address,
    lengthAt(space, address, BigInt(count) * BigInt(Elf64_Sym.size), 'the dynamic symbol table'),
    'the dynamic symbol table',
  )
}
