/** Whether two ELF objects make the same program: quickly, from their bytes, without reading what they mean. */
import { Elf64_Ehdr, Elf64_Shdr, SHF, SHT } from '../../binary/elf/definitions.ts'
import { viewOf } from '../../binary/struct.ts'

const { e_flags, e_shoff, e_shentsize, e_shnum } = Elf64_Ehdr.offsets
const S = Elf64_Shdr.offsets

interface Headers {
  readonly data: Uint8Array
  readonly view: DataView
  readonly at: number
  readonly count: number
}

function headersOf(data: Uint8Array): Headers | undefined {
  if (data.length < Elf64_Ehdr.size) return undefined
  const view = viewOf(data)
  const at = Number(view.getBigUint64(e_shoff, true))
  const count = view.getUint16(e_shnum, true)
  if (count === 0 || view.getUint16(e_shentsize, true) !== Elf64_Shdr.size || at + count * Elf64_Shdr.size > data.length) return undefined
  return { data, view, at, count }
}

/** The parts of a linked program that no section of its own memory shows: what names things, what ties sections together. */
const TABLES: ReadonlySet<number> = new Set([SHT.SYMTAB, SHT.STRTAB, SHT.GROUP, SHT.SYMTAB_SHNDX])

/** What a process could notice: memory, its relocations, tables; and what says that it is for the linker alone (bitcode). */
function matters({ view, at, count }: Headers, header: number): boolean {
  const type = view.getUint32(header + S.sh_type, true)
  const flags = view.getUint32(header + S.sh_flags, true)
  if (flags & (SHF.ALLOC | SHF.EXCLUDE) || TABLES.has(type)) return true
  if (type !== SHT.RELA && type !== SHT.REL) return false
  const target = view.getUint32(header + S.sh_info, true)
  return target >= count || (view.getUint32(at + target * Elf64_Shdr.size + S.sh_flags, true) & SHF.ALLOC) !== 0
}

/**
 * true: both have the same sections, and those that matter have the same bytes: what differs is debug information, comments, notes for tools.
 * false: they differ, or it cannot be told this quickly.
 */
export function sameElfProgram(before: Uint8Array, after: Uint8Array): boolean {
  const b = headersOf(before)
  const a = headersOf(after)
  if (a === undefined || b === undefined || a.count !== b.count) return false
  if (!same(before, 0, after, 0, e_shoff) || !same(before, e_flags, after, e_flags, Elf64_Ehdr.size - e_flags)) return false
  for (let i = 0; i < a.count; i++) {
    const [inB, inA] = [b.at + i * Elf64_Shdr.size, a.at + i * Elf64_Shdr.size]
    // Name, type, flags and address; then link, info, alignment and entry size. Offsets move with the sizes of what does not matter.
    if (!same(before, inB, after, inA, S.sh_offset)) return false
    if (!same(before, inB + S.sh_link, after, inA + S.sh_link, Elf64_Shdr.size - S.sh_link)) return false
    if (!isWithin(b, inB) || !isWithin(a, inA)) return false
    if (!matters(b, inB)) continue
    const size = b.view.getBigUint64(inB + S.sh_size, true)
    if (size !== a.view.getBigUint64(inA + S.sh_size, true)) return false
    if (b.view.getUint32(inB + S.sh_type, true) === SHT.NOBITS) continue
    const [fromB, fromA] = [b.view.getBigUint64(inB + S.sh_offset, true), a.view.getBigUint64(inA + S.sh_offset, true)]
    if (!same(before, Number(fromB), after, Number(fromA), Number(size))) return false
  }
  return true
}

/** Damage is for the reader to name. */
function isWithin({ data, view }: Headers, header: number): boolean {
  const type = view.getUint32(header + S.sh_type, true)
  if (type === SHT.NOBITS || type === SHT.NULL) return true
  return view.getBigUint64(header + S.sh_offset, true) + view.getBigUint64(header + S.sh_size, true) <= BigInt(data.length)
}

function same(b: Uint8Array, atB: number, a: Uint8Array, atA: number, length: number): boolean {
  if (atB + length > b.length || atA + length > a.length) return false
  return Buffer.compare(b.subarray(atB, atB + length), a.subarray(atA, atA + length)) === 0
}
