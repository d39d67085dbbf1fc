import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import type { BaseImage, BaseSymbol } from '../base-image.ts'
import { readPeBase } from './base.ts'

const LINKED = join(import.meta.dirname, 'fixtures')
const LIBRARIES = join(import.meta.dirname, '../../binary/pe/fixtures')
const bytesOf = (folder: string, name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)))
const baseOf = (folder: string, name: string): BaseImage => readPeBase(bytesOf(folder, name), `some/where/${name}`)
const named = (base: BaseImage, name: string): BaseSymbol[] => base.symbols.filter((symbol) => symbol.name === name)

describe('symbols of a linked image', () => {
  it.each(['ld-gcc12.dll', 'ld-clang19.dll', 'ld-mixed.dll'])('%s tells statics of one name apart by their source files', (name) => {
    const base = baseOf(LINKED, name)
    for (const symbol of ['add', 'counter'])
      expect(
        named(base, symbol)
          .map((s) => [s.binding, s.file])
          .sort(),
        symbol,
      ).toEqual([
        ['local', 'others.c'],
        ['local', 'sample.c'],
      ])
    for (const symbol of ['sw', 'table']) expect(named(base, symbol)).toMatchObject([{ binding: 'global', file: undefined }])
  })

  it('names no file where the linker left none', () => {
    const base = baseOf(LINKED, 'lld19-mingw.dll')
    expect(named(base, 'add').map((s) => [s.binding, s.file])).toEqual([
      ['local', undefined],
      ['local', undefined],
    ])
  })

  it.each(['ld-gcc12.dll', 'ld-clang19.dll', 'lld19-mingw.dll'])('%s has weak functions under their own name', (name) => {
    expect(named(baseOf(LINKED, name), 'weakfn')).toMatchObject([{ binding: 'weak', kind: 'function' }])
  })

  it('has sizes of functions from the exception directory, and none where it has no record', () => {
    const base = baseOf(LINKED, 'ld-clang19.dll')
    expect(named(base, 'sw')[0]?.size).toBe(133)
    expect(named(base, 'leaf_without_frame')[0]?.size).toBe(0)
  })

  it('has exports where there is no symbol table', () => {
    const base = baseOf(LINKED, 'lld19-msvc.dll')
    expect(named(base, 'sw')).toMatchObject([{ kind: 'function', binding: 'global', exported: true, size: 133 }])
    expect(named(base, 'table')).toMatchObject([{ kind: 'object', exported: true }])
    expect(base.symbols.length).toBe(9)
  })

  it('marks exports among the symbols', () => {
    const base = baseOf(LIBRARIES, 'ld-gcc12.dll')
    expect(named(base, 'leaf')).toMatchObject([{ exported: true }])
    expect(named(base, 'spread')).toMatchObject([{ exported: false, binding: 'local', file: 'library.c' }])
  })
})

describe('import slots', () => {
  it('are known by name, by ordinal, and by the names of the symbol table', () => {
    const base = baseOf(LIBRARIES, 'ld-gcc12.dll')
    const slot = (name: string) => base.importSlots.find((s) => s.name === name)
    expect(slot('imported')).toMatchObject({ library: 'other.dll', binding: 'eager' })
    expect(slot('#12')).toMatchObject({ library: 'numbers.dll', binding: 'eager' })
    expect(slot('by_ordinal')?.rva).toBe(slot('#12')?.rva)
  })

  it('are lazy where the import is delayed', () => {
    const base = baseOf(LIBRARIES, 'lld19-msvc.dll')
    expect(base.importSlots.map((s) => [s.name, s.binding])).toEqual([
      ['#12', 'eager'],
      ['GetModuleHandleA', 'eager'],
      ['imported', 'lazy'],
    ])
  })
})

describe('bytes of an image', () => {
  const base = baseOf(LIBRARIES, 'ld-gcc12.dll')
  const section = (name: string) => {
    const found = base.sections.find((s) => s.name === name)
    if (found === undefined) throw new Error(`no section ${name}`)
    return found
  }

  it('are those of the file where the file has them', () => {
    const text = section('.text')
    expect(base.bytes(text.rva, 4)?.length).toBe(4)
    expect(base.bytes(text.rva + text.size - 2, 2)?.length).toBe(2)
    expect(base.bytes(text.rva + text.size - 2, 3)).toBeUndefined()
    const bss = baseOf(LINKED, 'ld-clang19.dll').sections.find((s) => s.kind === 'bss')
    expect(bss?.name).toBe('.bss')
    expect(baseOf(LINKED, 'ld-clang19.dll').bytes(bss?.rva ?? 0, 1)).toBeUndefined()
    expect(base.bytes(0x7fffffff, 1)).toBeUndefined()
  })

  it('are marked where the loader changes them', () => {
    const [pointers] = named(base, 'pointers')
    expect(base.isRelocated(pointers?.rva ?? 0)).toBe(true)
    expect(base.isRelocated((pointers?.rva ?? 0) + 4)).toBe(false)
    expect(base.isRelocated(section('.text').rva)).toBe(false)
  })

  it('lie in sections of a kind', () => {
    const kinds = Object.fromEntries(base.sections.map((s) => [s.name, s.kind]))
    expect(kinds).toMatchObject({
      '.text': 'code',
      '.rdata': 'rodata',
      '.data': 'data',

      '.pdata': 'other',
      '.reloc': 'other',
    })
  })
})

it('knows how the image is called and that it may be moved', () => {
  expect(baseOf(LINKED, 'ld-gcc12.dll')).toMatchObject({ name: 'ld-gcc12.dll', format: 'pe', machine: 'x64', relocatable: true })
})

it('reads damaged images or fails with a code', () => {
  const originals = ['ld-mixed.dll', 'lld19-mingw.dll', 'lld19-msvc.dll'].map((name) => bytesOf(LINKED, name))
  const change = fc.record({ at: fc.nat(), value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), width: fc.constantFrom(1, 4) })
  fc.assert(
    fc.property(fc.nat(originals.length - 1), fc.array(change, { minLength: 1, maxLength: 6 }), (which, changes) => {
      const data = (originals[which] as Uint8Array).slice()
      for (const { at, value, width } of changes) data.fill(value, at % data.length, (at % data.length) + width)
      try {
        readPeBase(data, 'damaged.dll')
      } catch (error) {
        expect(error).toBeInstanceOf(HotpatchError)
      }
    }),
    { numRuns: 200 },
  )
})
