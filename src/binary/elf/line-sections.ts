/** Debug sections as their readers want them: decompressed, and in objects relocated with each section at a place of its own. */
import { inflateSync } from 'node:zlib'
import { HotpatchError } from '../../errors.ts'
import { placeOf } from '../section-places.ts'
import { struct, u32, u64, viewOf } from '../struct.ts'
import { EM, ET, R_AARCH64, R_X86_64, SHF } from './definitions.ts'
import { type ElfFile, type ElfSection, isAllocated } from './reader.ts'

/** The head of a section with SHF_COMPRESSED (System V gABI, "Section Compression"). */
const Elf64_Chdr = struct('Elf64_Chdr', { ch_type: u32, ch_reserved: u32, ch_size: u64, ch_addralign: u64 })
const ELFCOMPRESS_ZLIB = 1
/** No more than this comes out of a byte of deflate's. */
const HIGHEST_RATIO = 1032

/** The section `name`; undefined where the file has none. Throws TRUNCATED, MALFORMED. */
export function debugSection(elf: ElfFile, name: string): Uint8Array | undefined {
  const section = elf.sections.find((s) => s.name === name)
  const stored = section?.data()
  if (section === undefined || stored === undefined) return undefined
  const data = section.flags & SHF.COMPRESSED ? inflated(section, stored) : stored
  return elf.type === ET.REL ? relocated(elf, section, data) : data
}

function inflated({ name }: ElfSection, stored: Uint8Array): Uint8Array {
  const { ch_type, ch_size } = Elf64_Chdr.readAt(stored, 0)
  const packed = stored.subarray(Elf64_Chdr.size)
  if (ch_type !== ELFCOMPRESS_ZLIB) throw new HotpatchError('MALFORMED', `section ${name} is compressed in way ${ch_type}, not by zlib`)
  if (ch_size > BigInt(packed.length * HIGHEST_RATIO))
    throw new HotpatchError('MALFORMED', `section ${name} claims to hold ${ch_size} bytes`)
  try {
    return inflateSync(packed, { maxOutputLength: Math.max(1, Number(ch_size)) })
  } catch (cause) {
    throw new HotpatchError('MALFORMED', `section ${name} cannot be decompressed`, { cause })
  }
}

/** Bytes of the absolute relocations that debug information has, by machine. */
const ABSOLUTE: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  [EM.X86_64]: { [R_X86_64['64']]: 8, [R_X86_64['32']]: 4 },
  [EM.AARCH64]: { [R_AARCH64.ABS64]: 8, [R_AARCH64.ABS32]: 4 },
}

function relocated(elf: ElfFile, section: ElfSection, data: Uint8Array): Uint8Array {
  const relocations = elf.relocations(section.index)
  if (relocations.length === 0) return data
  const sizes = ABSOLUTE[elf.machine] ?? {}
  const symbols = elf.symbols()
  const copy = data.slice()
  const view = viewOf(copy)
  for (const { offset, type, symbol, addend } of relocations) {
    const size = sizes[type]
    const target = symbols[symbol]
    if (size === undefined || target?.place !== 'section' || offset + size > copy.length) continue
    const field = size === 8 ? Number(view.getBigInt64(offset, true)) : view.getUint32(offset, true)
    const within = Number(target.value) + (addend ?? field)
    const holder = elf.sections[target.section]
    // Debug sections refer to each other by offset.
    const value = holder !== undefined && isAllocated(holder) ? placeOf(target.section, within) : within
    if (size === 8) view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true)
    else view.setUint32(offset, value >>> 0, true)
  }
  return copy
}
