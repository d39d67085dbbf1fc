/** An ELF file's debug information as it would be read after linking: decompressed, and in objects relocated. */
import { inflateSync } from 'node:zlib'
import { HotpatchError } from '../../errors.ts'
import { DEBUG_SECTION_NAMES, type DebugSections } from '../dwarf/debug-sections.ts'
import { struct, u32, u64, viewOf } from '../struct.ts'
import { EM, ET, R_AARCH64, R_X86_64, SHF } from './definitions.ts'
import { type ElfFile, type ElfSection, toNumber } from './reader.ts'

const Elf64_Chdr = struct('Elf64_Chdr', { ch_type: u32, ch_reserved: u32, ch_size: u64, ch_addralign: u64 })
const ELFCOMPRESS_ZLIB = 1

/** What a section may grow to, times its compressed size. zlib cannot pass 1032. */
const MOST_EXPANSION = 1100

const NOTHING = new Uint8Array(0)

/** undefined: the file has no .debug_info. Throws TRUNCATED, MALFORMED. */
export function elfDebugSections(elf: ElfFile): DebugSections | undefined {
  const all = (name: string) => elf.sections.filter((section) => section.name === name).map((section) => debugSection(elf, section))
  const one = (name: string) => all(name)[0] ?? NOTHING
  const info = all(DEBUG_SECTION_NAMES.info)
  if (info.length === 0) return undefined
  return {
    info,
    types: all(DEBUG_SECTION_NAMES.types),
    abbrev: one(DEBUG_SECTION_NAMES.abbrev),
    str: one(DEBUG_SECTION_NAMES.str),
    lineStr: one(DEBUG_SECTION_NAMES.lineStr),
    strOffsets: one(DEBUG_SECTION_NAMES.strOffsets),
  }
}

/** The bytes of a section of debug information, decompressed and relocated. Throws TRUNCATED, MALFORMED. */
export function debugSection(elf: ElfFile, section: ElfSection): Uint8Array {
  const raw = section.data() ?? NOTHING
  const bytes = section.flags & SHF.COMPRESSED ? decompress(raw, section.name) : raw
  return elf.type === ET.REL ? relocated(elf, section, bytes) : bytes
}

function decompress(raw: Uint8Array, name: string): Uint8Array {
  const header = Elf64_Chdr.readAt(raw, 0)
  if (header.ch_type !== ELFCOMPRESS_ZLIB)
    throw new HotpatchError('MALFORMED', `section ${name} is compressed by method ${header.ch_type}; only zlib (1) can be read`)
  const size = toNumber(header.ch_size, `the size of section ${name}`)
  if (size > raw.length * MOST_EXPANSION) throw new HotpatchError('MALFORMED', `section ${name} claims to expand to ${size} bytes`)
  try {
    const bytes = inflateSync(raw.subarray(Elf64_Chdr.size), { maxOutputLength: Math.max(1, size) })
    if (bytes.length === size) return bytes
  } catch (cause) {
    throw new HotpatchError('MALFORMED', `section ${name} cannot be decompressed`, { cause })
  }
  throw new HotpatchError('MALFORMED', `section ${name} does not expand to the ${size} bytes that it claims`)
}

/** Bytes of the field that a relocation of debug information fills with S + A. */
const FIELDS: Readonly<Record<number, ReadonlyMap<number, number>>> = {
  [EM.X86_64]: new Map([
    [R_X86_64['32'], 4],
    [R_X86_64['32S'], 4],
    [R_X86_64['64'], 8],
    [R_X86_64.DTPOFF32, 4],
    [R_X86_64.DTPOFF64, 8],
  ]),
  [EM.AARCH64]: new Map([
    [R_AARCH64.ABS32, 4],
    [R_AARCH64.ABS64, 8],
  ]),
}

/** Others (of compilers' own ideas) leave their field as it is. */
function relocated(elf: ElfFile, section: ElfSection, bytes: Uint8Array): Uint8Array {
  const relocations = elf.relocations(section.index)
  if (relocations.length === 0) return bytes
  const fields = FIELDS[elf.machine] ?? new Map()
  const symbols = elf.symbols()
  const out = bytes.slice()
  const view = viewOf(out)
  for (const { offset, type, symbol, addend } of relocations) {
    const size = fields.get(type)
    if (size === undefined) continue
    if (offset + size > out.length)
      throw new HotpatchError('MALFORMED', `a relocation of section ${section.name} is for offset ${offset}, behind its end`)
    const target = symbols[symbol]
    const base = target === undefined || target.place !== 'section' ? 0 : Number(target.value)
    if (size === 4) view.setUint32(offset, (base + (addend ?? view.getUint32(offset, true))) >>> 0, true)
    else
      view.setBigUint64(
        offset,
        BigInt.asUintN(64, BigInt(base) + (addend === undefined ? view.getBigUint64(offset, true) : BigInt(addend))),
        true,
      )
  }
  return out
}
