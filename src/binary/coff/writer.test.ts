import fc from 'fast-check'
import { expect, it } from 'vitest'
import { IMAGE_SYM_CLASS } from './definitions.ts'
import { readSymbols } from './symbols.ts'
import { encodeSymbols } from './writer.ts'

it('writes symbol tables that read back', () => {
  const name = fc.string({ unit: fc.integer({ min: 0x21, max: 0xff }).map((c) => String.fromCharCode(c)), minLength: 1, maxLength: 30 })
  const symbol = fc.record({
    name,
    section: fc.integer({ min: 1, max: 0x7fff }),
    value: fc.nat(0xffffffff),
    isFunction: fc.boolean(),
    isGlobal: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(symbol, { minLength: 1, maxLength: 20 }), (symbols) => {
      const file = Buffer.concat([Buffer.alloc(4), encodeSymbols(symbols)])
      const read = readSymbols(file, { pointer: 4, count: symbols.length, bigobj: false })
      expect(read.map((s) => [s.name, s.sectionNumber, s.value, s.type === 0x20, s.storageClass === IMAGE_SYM_CLASS.EXTERNAL])).toEqual(
        // A first character of zero bytes cannot be, so short names are told from long ones.
        symbols.map((s) => [s.name, s.section, s.value, s.isFunction, s.isGlobal]),
      )
    }),
  )
})
