import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LinkerMap } from './definitions.ts'
import { readLinkerMap } from './reader.ts'

const fixtures = new URL('../../', import.meta.url)
const read = (path: string): LinkerMap => {
  const map = readLinkerMap(new Uint8Array(readFileSync(new URL(path, fixtures))))
  if (map === undefined) throw new Error(`${path} is no map`)
  return map
}

const named = (map: LinkerMap, name: string) => map.symbols.filter((s) => s.name === name)

const MAPS = {
  gnu: 'builder/fixtures/gcc-stripped-so/ld.map',
  'gnu, PE': 'builder/fixtures/mingw-stripped-dll/ld.map',
  lld: 'builder/fixtures/gcc-stripped-so/lld.map',
  'lld, PE': 'builder/fixtures/clang-pdb-dll/lld.map',
  msvc: 'binary/pdb/fixtures/msvc.map',
} as const

describe('GNU ld', () => {
  it.each(['gnu', 'gnu, PE'] as const)('has globals, and statics by their sections (%s)', (which) => {
    const map = read(MAPS[which])
    expect(map.kind).toBe('gnu')
    expect(named(map, 'service_handle')).toContainEqual({ name: 'service_handle', address: expect.any(Number), size: 0, binding: 'global' })
    const weigh = named(map, 'weigh')
    expect(weigh.map((s) => [s.binding, s.size > 0])).toEqual([
      ['local', true],
      ['local', true],
    ])
    expect(new Set(weigh.map((s) => s.address)).size).toBe(2)
    expect(map.sections.find((s) => s.name === '.text')?.size).toBeGreaterThan(0)
    expect(map.hasStatics).toBe(false)
  })
})

describe('lld', () => {
  it.each(['lld', 'lld, PE'] as const)('has every symbol (%s)', (which) => {
    const map = read(MAPS[which])
    expect(named(map, 'service_handle').length).toBe(1)
    expect(named(map, 'weigh').length).toBe(2)
    expect(map.sections.map((s) => s.name)).toContain('.text')
    expect(map.addresses).toBe(which === 'lld' ? 'absolute' : 'image')
  })
})

describe('link.exe and lld-link', () => {
  it('have publics and statics', () => {
    const map = read(MAPS.msvc)
    expect({ base: map.imageBase, stamp: map.timestamp }).toEqual({ base: 0x180000000, stamp: undefined })
    expect(named(map, 'f')).toEqual([
      { name: 'f', address: 0x180001040, size: 0, binding: 'local' },
      { name: 'f', address: 0x180001070, size: 0, binding: 'local' },
    ])
    expect(named(map, '?both@space@@YAHH@Z')).toEqual([{ name: '?both@space@@YAHH@Z', address: 0x1800010a0, size: 0, binding: 'global' }])
  })

  it('may mark functions and say when they linked', () => {
    const text = [
      ' app',
      '',
      ' Timestamp is 5f3e2d1c (Thu Aug 20 2020)',
      '',
      ' Preferred load address is 0000000140000000',
      '',
      '  Address         Publics by Value              Rva+Base               Lib:Object',
      '',
      ' 0000:00000000       __guard_flags              0000000000000000     <absolute>',
      ' 0001:00000010       main                       0000000140001010 f   app.obj',
      '',
      ' Static symbols',
      '',
      ' 0001:00000040       helper                     0000000140001040 f i app.obj',
    ].join('\r\n')
    expect(readLinkerMap(Buffer.from(text))).toMatchObject({
      timestamp: 0x5f3e2d1c,
      symbols: [
        { name: 'main', binding: 'global' },
        { name: 'helper', binding: 'local' },
      ],
    })
  })
})

it('takes no other text for a map', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => readLinkerMap(Buffer.from(text)) === undefined))
})

it('survives damaged maps', () => {
  const originals = Object.values(MAPS).map((path) => new Uint8Array(readFileSync(new URL(path, fixtures))))
  fc.assert(
    fc.property(fc.nat(originals.length - 1), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 40 }), (which, changes) => {
      const data = (originals[which] as Uint8Array).slice()
      for (const [at, value] of changes) data[at % data.length] = value
      for (const { address, size } of readLinkerMap(data)?.symbols ?? []) expect([address >= 0, size >= 0]).toEqual([true, true])
    }),
    { numRuns: 100 },
  )
})
