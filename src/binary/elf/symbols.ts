/** Symbol tables, .symtab and .dynsym alike. Decoded by hand-placed views of Elf64_Sym: images have a hundred thousand of them. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { Elf64_Sym, SHN, STB, STT } from './definitions.ts'
import type { StringTable } from './strings.ts'

export interface ElfSymbol {
  /** In its table; relocations refer to it. */
  readonly index: number
  /** Without version, as far as the table keeps versions apart (.dynsym). */
  readonly name: string
  /** STT. */
  readonly type: number
  /** STB. */
  readonly binding: number
  /** STV. */
  readonly visibility: number
  readonly place: 'section' | 'undefined' | 'absolute' | 'common' | 'other'
  /** The section's index where `place` is 'section' (SHN_XINDEX resolved), else 0. */
  readonly section: number
  /** Offset in the section (ET_REL), else address. Alignment of a common symbol. */
  readonly value: bigint
  readonly size: number
  /** STT_FILE name under which a local symbol stands. */
  readonly file: string | undefined
}

export interface SymbolTableSource {
  readonly data: Uint8Array
  readonly name: StringTable
  /** SHT_SYMTAB_SHNDX contents, u32 each, where there is one. */
  readonly extendedIndices: Uint8Array | undefined
}

const { st_name, st_info, st_other, st_shndx, st_value, st_size } = Elf64_Sym.offsets

const placeOf = (shndx: number): ElfSymbol['place'] => {
  if (shndx === SHN.UNDEF) return 'undefined'
  if (shndx < SHN.LORESERVE || shndx === SHN.XINDEX) return 'section'
  if (shndx === SHN.ABS) return 'absolute'
  return shndx === SHN.COMMON || shndx === SHN.X86_64_LCOMMON ? 'common' : 'other'
}

/** Every symbol in file order, the null symbol at index 0 included. Throws TRUNCATED, MALFORMED. */
export function readSymbols({ data, name, extendedIndices }: SymbolTableSource): ElfSymbol[] {
  const view = viewOf(data)
  const extended = extendedIndices && viewOf(extendedIndices)
  const count = Math.floor(data.length / Elf64_Sym.size)
  const symbols = new Array<ElfSymbol>(count)
  let file: string | undefined
  for (let index = 0, at = 0; index < count; index++, at += Elf64_Sym.size) {
    const info = view.getUint8(at + st_info)
    const shndx = view.getUint16(at + st_shndx, true)
    const binding = info >> 4
    const type = info & 15
    const symbolName = name(view.getUint32(at + st_name, true))
    if (type === STT.FILE) file = symbolName || undefined
    let section = shndx < SHN.LORESERVE ? shndx : 0
    if (shndx === SHN.XINDEX) {
      if (!extended || index * 4 + 4 > extended.byteLength)
        throw new HotpatchError('MALFORMED', `symbol ${index} has an extended section index, but the table of those does not reach it`)
      section = extended.getUint32(index * 4, true)
    }
    const sizeHigh = view.getUint32(at + st_size + 4, true)
    if (sizeHigh > 0x1fffff) throw new HotpatchError('MALFORMED', `symbol ${index} (${symbolName}) claims a size beyond 2^53`)
    symbols[index] = {
      index,
      name: symbolName,
      type,
      binding,
      visibility: view.getUint8(at + st_other) & 3,
      place: placeOf(shndx),
      section,
      value: view.getBigUint64(at + st_value, true),
      size: sizeHigh * 0x100000000 + view.getUint32(at + st_size, true),
      file: binding === STB.LOCAL && type !== STT.FILE ? file : undefined,
    }
  }
  return symbols
}
