/** Writes a COFF symbol table with its string table: the same in objects and images. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { IMAGE_SYM_CLASS, IMAGE_SYM_DTYPE_FUNCTION, ImageSymbol } from './definitions.ts'

export interface NewSymbol {
  readonly name: string
  /** Counts from 1. */
  readonly section: number
  /** From the start of the section. */
  readonly value: number
  readonly isFunction: boolean
  readonly isGlobal: boolean
}

/** Symbol table and string table, one after the other. Names are written as Latin-1. */
export function encodeSymbols(symbols: readonly NewSymbol[]): Uint8Array {
  const strings: Buffer[] = []
  let stringsSize = 4
  const records = symbols.map((symbol) => {
    if (symbol.name === '' || symbol.name.includes('\0')) throw new HotpatchError('DEFECT', 'a COFF symbol without a proper name')
    const bytes = Buffer.from(symbol.name, 'latin1')
    const name = new Uint8Array(8)
    if (bytes.length <= 8) name.set(bytes)
    else {
      viewOf(name).setUint32(4, stringsSize, true)
      strings.push(bytes, Buffer.alloc(1))
      stringsSize += bytes.length + 1
    }
    return ImageSymbol.encode({
      Name: name,
      Value: symbol.value,
      SectionNumber: symbol.section,
      Type: symbol.isFunction ? IMAGE_SYM_DTYPE_FUNCTION : 0,
      StorageClass: symbol.isGlobal ? IMAGE_SYM_CLASS.EXTERNAL : IMAGE_SYM_CLASS.STATIC,
      NumberOfAuxSymbols: 0,
    })
  })
  const size = new Uint8Array(4)
  viewOf(size).setUint32(0, stringsSize, true)
  return Buffer.concat([...records, size, ...strings])
}
