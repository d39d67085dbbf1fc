import { expect, test } from 'vitest'
import { Elf64_Sym, SHN, STB, STT } from './definitions.ts'
import { stringTable } from './strings.ts'
import { readSymbols } from './symbols.ts'

const symbol = (st_name: number, binding: number, type: number, st_shndx: number): Uint8Array =>
  Elf64_Sym.encode({ st_name, st_info: (binding << 4) | type, st_other: 0, st_shndx, st_value: 0x10n, st_size: 4n })

const strings = (...names: string[]) => stringTable(Buffer.from(`\0${names.join('\0')}\0`), 'test')

test('SHN_XINDEX takes the section from the extended table, also where that number is a reserved one', () => {
  const data = Buffer.concat([symbol(0, 0, 0, 0), symbol(1, STB.GLOBAL, STT.FUNC, SHN.XINDEX)])
  const extendedIndices = Uint8Array.of(0, 0, 0, 0, 0xf1, 0xff, 0, 0)
  const [, found] = readSymbols({ data, name: strings('f'), extendedIndices })
  expect(found).toMatchObject({ name: 'f', place: 'section', section: 0xfff1 })
  expect(() => readSymbols({ data, name: strings('f'), extendedIndices: undefined })).toThrow(/extended section index/)
})

test('local symbols belong to the STT_FILE before them, an empty one ends it', () => {
  const data = Buffer.concat([
    symbol(0, 0, 0, 0),
    symbol(1, STB.LOCAL, STT.FILE, SHN.ABS),
    symbol(5, STB.LOCAL, STT.FUNC, 1),
    symbol(0, STB.LOCAL, STT.FILE, SHN.ABS),
    symbol(5, STB.LOCAL, STT.FUNC, 1),
    symbol(5, STB.GLOBAL, STT.FUNC, 1),
  ])
  const files = readSymbols({ data, name: strings('a.c', 'f'), extendedIndices: undefined }).map((s) => s.file)
  expect(files).toEqual([undefined, undefined, 'a.c', undefined, undefined, undefined])
})

test('names that all run through one another are refused', () => {
  const table = new Uint8Array(1 << 20).fill(0x61)
  table[table.length - 1] = 0
  const name = stringTable(table, 'test')
  expect(() => {
    for (let i = 0; i < 1000; i++) name(i)
  }).toThrow(/overlap/)
})
