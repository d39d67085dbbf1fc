/** The tables that every ELF image is made of, as bytes: strings, symbols, relocations, hashes, dynamic entries. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { Elf64_Dyn, Elf64_Rela, Elf64_Sym, GnuHashHeader } from './definitions.ts'

/** Gathers names; equal names share their bytes. Offset 0 is the empty name. */
export class StringTableBuilder {
  readonly #offsets = new Map<string, number>([['', 0]])
  readonly #parts: Uint8Array[] = [new Uint8Array(1)]
  #size = 1

  /** The offset of a name. A name with characters beyond Latin-1 is a defect: names come from such tables. */
  add(name: string): number {
    const known = this.#offsets.get(name)
    if (known !== undefined) return known
    const offset = this.#size
    const bytes = Buffer.from(`${name}\0`, 'latin1')
    this.#offsets.set(name, offset)
    this.#parts.push(bytes)
    this.#size += bytes.length
    return offset
  }

  get size(): number {
    return this.#size
  }

  encode(): Uint8Array {
    const data = new Uint8Array(this.#size)
    let at = 0
    for (const part of this.#parts) {
      data.set(part, at)
      at += part.length
    }
    return data
  }
}

export interface OutputSymbol {
  readonly name: string
  /** STB. */
  readonly binding: number
  /** STT. */
  readonly type: number
  /** STV. */
  readonly visibility: number
  /** Section index, or SHN. */
  readonly section: number
  readonly value: number
  readonly size: number
}

/** Bytes of a table of `count` symbols, the null symbol besides. */
export const symbolTableSize = (count: number): number => (count + 1) * Elf64_Sym.size

/** A symbol table, the null symbol first. The format wants local symbols before all others. */
export function encodeSymbols(symbols: readonly OutputSymbol[], strings: StringTableBuilder): Uint8Array {
  const data = new Uint8Array(symbolTableSize(symbols.length))
  const view = viewOf(data)
  symbols.forEach((s, i) => {
    Elf64_Sym.write(view, (i + 1) * Elf64_Sym.size, {
      st_name: strings.add(s.name),
      st_info: (s.binding << 4) | s.type,
      st_other: s.visibility,
      st_shndx: s.section,
      st_value: BigInt(s.value),
      st_size: BigInt(s.size),
    })
  })
  return data
}

export interface OutputRelocation {
  readonly offset: number
  readonly type: number
  readonly symbol: number
  readonly addend: number
}

export function encodeRela(relocations: readonly OutputRelocation[]): Uint8Array {
  const data = new Uint8Array(relocations.length * Elf64_Rela.size)
  const view = viewOf(data)
  relocations.forEach((r, i) => {
    const r_info = (BigInt(r.symbol) << 32n) | BigInt(r.type)
    Elf64_Rela.write(view, i * Elf64_Rela.size, { r_offset: BigInt(r.offset), r_info, r_addend: BigInt(r.addend) })
  })
  return data
}

/** With the DT_NULL that ends it. */
export function encodeDynamic(entries: readonly (readonly [tag: number, value: number])[]): Uint8Array {
  const data = new Uint8Array((entries.length + 1) * Elf64_Dyn.size)
  const view = viewOf(data)
  entries.forEach(([tag, value], i) => {
    Elf64_Dyn.write(view, i * Elf64_Dyn.size, { d_tag: BigInt(tag), d_val: BigInt(value) })
  })
  return data
}

/** The hash of DT_GNU_HASH (Bernstein's, times 33). */
export function gnuHash(name: string): number {
  let hash = 5381
  for (const byte of Buffer.from(name, 'latin1')) hash = (Math.imul(hash, 33) + byte) >>> 0
  return hash
}

const BLOOM_SHIFT = 6
const WORD_BITS = 64

const bucketCount = (symbols: number): number => Math.max(1, Math.ceil(symbols / 2))

/** Symbols of .dynsym that can be found by name, in the order in which DT_GNU_HASH wants them: by bucket. */
export function gnuHashOrder<T extends { readonly name: string }>(symbols: readonly T[]): T[] {
  const buckets = bucketCount(symbols.length)
  const bucket = (s: T): number => gnuHash(s.name) % buckets
  return [...symbols].sort((a, b) => bucket(a) - bucket(b))
}

/** Words of the bloom filter: a power of two. */
const bloomSize = (symbols: number): number => 2 ** Math.max(0, Math.ceil(Math.log2((symbols * 12) / WORD_BITS || 1)))

/** Bytes of the table for `count` names. */
export const gnuHashSize = (count: number): number => GnuHashHeader.size + bloomSize(count) * 8 + bucketCount(count) * 4 + count * 4

/**
 * @param symbols the names that can be found, in the order of `gnuHashOrder`
 * @param first index of the first of them in .dynsym
 */
export function encodeGnuHash(symbols: readonly { readonly name: string }[], first: number): Uint8Array {
  const nbuckets = bucketCount(symbols.length)
  const bloom_size = bloomSize(symbols.length)
  const data = new Uint8Array(gnuHashSize(symbols.length))
  const view = viewOf(data)
  GnuHashHeader.write(view, 0, { nbuckets, symoffset: first, bloom_size, bloom_shift: BLOOM_SHIFT })
  const bucketsAt = GnuHashHeader.size + bloom_size * 8
  const chainsAt = bucketsAt + nbuckets * 4
  const hashes = symbols.map((s) => gnuHash(s.name))
  hashes.forEach((hash, i) => {
    const word = GnuHashHeader.size + (Math.floor(hash / WORD_BITS) % bloom_size) * 8
    const bits = (1n << BigInt(hash % WORD_BITS)) | (1n << BigInt((hash >>> BLOOM_SHIFT) % WORD_BITS))
    view.setBigUint64(word, view.getBigUint64(word, true) | bits, true)
    const bucket = hash % nbuckets
    const before = hashes[i - 1]
    const next = hashes[i + 1]
    if (before === undefined || before % nbuckets !== bucket) view.setUint32(bucketsAt + bucket * 4, first + i, true)
    if (before !== undefined && before % nbuckets > bucket)
      throw new HotpatchError('DEFECT', 'names are not in the order of their hash buckets')
    const last = next === undefined || next % nbuckets !== bucket
    view.setUint32(chainsAt + i * 4, ((hash & ~1) | (last ? 1 : 0)) >>> 0, true)
  })
  return data
}
