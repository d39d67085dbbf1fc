/**
 * Looks one name up in a module in memory as its loader does: by DT_GNU_HASH or DT_HASH, reading a few words and not the table.
 * (https://flapenguin.me/elf-dt-gnu-hash; System V gABI, "Hash Table".)
 */
import { HotpatchError } from '../../errors.ts'
import { type Struct, viewOf } from '../struct.ts'
import { DT, Elf64_Sym, GnuHashHeader, SHN, STB, VERSYM_HIDDEN } from './definitions.ts'
import type { ElfMemoryImage } from './memory.ts'
import { gnuHash } from './tables.ts'
import { sysvHash } from './version-tables.ts'

export interface FoundSymbol {
  /** Address by the program headers. */
  readonly value: bigint
  /** STT. */
  readonly type: number
  readonly size: number
  /** undefined: it has no version. */
  readonly version: string | undefined
  /** Not the default version of its name. */
  readonly hidden: boolean
  /** Defined here, or only the place in a program's linkage table that stands for a function of another module. */
  readonly defined: boolean
}

/** Longer than any chain of a real table. */
const LONGEST_CHAIN = 1 << 20

/** Every symbol of the name that other modules could mean. Throws TRUNCATED, MALFORMED, and what the memory throws. */
export function lookUpSymbol(image: ElfMemoryImage, name: string): FoundSymbol[] {
  const indices = value(image, DT.GNU_HASH) === undefined ? sysvIndices(image, name) : gnuIndices(image, name)
  const found: FoundSymbol[] = []
  for (const index of indices) {
    const symbol = symbolAt(image, index)
    if (symbol === undefined || nameAt(image, symbol.st_name, name.length) !== name) continue
    const defined = symbol.st_shndx !== SHN.UNDEF
    if (symbol.st_info >> 4 === STB.LOCAL || (!defined && symbol.st_value === 0n)) continue
    const { st_value, st_info, st_size } = symbol
    found.push({ value: st_value, type: st_info & 15, size: Number(st_size), defined, ...versionAt(image, index) })
  }
  return found
}

const value = ({ dynamic }: ElfMemoryImage, tag: number): bigint | undefined => dynamic?.value(tag)

function* gnuIndices(image: ElfMemoryImage, name: string): Generator<number> {
  const at = value(image, DT.GNU_HASH) as bigint
  const { space } = image
  const { nbuckets, symoffset, bloom_size, bloom_shift } = readAt(image, GnuHashHeader, at, 'DT_GNU_HASH')
  if (nbuckets === 0 || bloom_size === 0) return
  const hash = gnuHash(name)
  const word = (address: bigint, size: 4 | 8): bigint => {
    const view = viewOf(space.at(address, size, 'DT_GNU_HASH'))
    return size === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true)
  }
  const bloomAt = at + BigInt(GnuHashHeader.size)
  const bits = (1n << BigInt(hash % 64)) | (1n << BigInt((hash >>> bloom_shift) % 64))
  if ((word(bloomAt + 8n * BigInt(Math.floor(hash / 64) % bloom_size), 8) & bits) !== bits) return
  const bucketsAt = bloomAt + 8n * BigInt(bloom_size)
  const first = Number(word(bucketsAt + 4n * BigInt(hash % nbuckets), 4))
  if (first < symoffset) return
  const chainsAt = bucketsAt + 4n * BigInt(nbuckets)
  for (let index = first; index < first + LONGEST_CHAIN; index++) {
    const entry = Number(word(chainsAt + 4n * BigInt(index - symoffset), 4))
    if (((entry ^ hash) & ~1) === 0) yield index
    if ((entry & 1) !== 0) return
  }
  throw new HotpatchError('MALFORMED', 'a chain of DT_GNU_HASH does not end')
}

function* sysvIndices(image: ElfMemoryImage, name: string): Generator<number> {
  const at = value(image, DT.HASH)
  if (at === undefined) return
  const word = (i: number): number => viewOf(image.space.at(at + 4n * BigInt(i), 4, 'DT_HASH')).getUint32(0, true)
  const [buckets, chains] = [word(0), word(1)]
  if (buckets === 0) return
  let steps = 0
  for (let index = word(2 + (sysvHash(name) % buckets)); index !== 0; index = word(2 + buckets + index)) {
    if (index >= chains || ++steps > LONGEST_CHAIN) throw new HotpatchError('MALFORMED', 'a chain of DT_HASH does not end')
    yield index
  }
}

function readAt<T>(image: ElfMemoryImage, type: Struct<T>, address: bigint, what: string): T {
  return type.readAt(image.space.at(address, type.size, what), 0)
}

function symbolAt(image: ElfMemoryImage, index: number) {
  const table = value(image, DT.SYMTAB)
  return table === undefined ? undefined : readAt(image, Elf64_Sym, table + BigInt(index * Elf64_Sym.size), 'the dynamic symbol table')
}

/** undefined: the name is longer. */
function nameAt(image: ElfMemoryImage, offset: number, length: number): string | undefined {
  const strings = value(image, DT.STRTAB)
  if (strings === undefined) return undefined
  const bytes = image.space.at(strings + BigInt(offset), length + 1, 'the dynamic string table')
  return bytes[length] === 0 ? Buffer.from(bytes.subarray(0, length)).toString('latin1') : undefined
}

function versionAt(image: ElfMemoryImage, index: number): Pick<FoundSymbol, 'version' | 'hidden'> {
  const versym = value(image, DT.VERSYM)
  if (versym === undefined) return { version: undefined, hidden: false }
  const raw = viewOf(image.space.at(versym + BigInt(index * 2), 2, 'DT_VERSYM')).getUint16(0, true)
  return { version: image.versionNames().get(raw & ~VERSYM_HIDDEN)?.name, hidden: (raw & VERSYM_HIDDEN) !== 0 }
}
