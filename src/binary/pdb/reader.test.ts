import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { readCodeView } from '../pe/directories.ts'
import { readPe } from '../pe/reader.ts'
import { type Pdb, readPdb } from './reader.ts'
import type { PdbSymbol } from './records.ts'

const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)))
const golden = (name: string): string => Buffer.from(fixture(name)).toString('utf8')

const KINDS: Readonly<Record<string, string>> = {
  'function public': 'S_PUB32',
  'unknown public': 'S_PUB32',
  'function global': 'S_GPROC32',
  'function local': 'S_LPROC32',
  'data global': 'S_GDATA32',
  'data local': 'S_LDATA32',
  'thread-local global': 'S_GTHREAD32',
  'thread-local local': 'S_LTHREAD32',
}

/** As llvm-pdbutil spells a symbol: kind, name, section and offset, and the size of a procedure. */
const spelled = ({ kind, scope, name, segment, offset, size }: PdbSymbol): string =>
  `${KINDS[`${kind} ${scope}`]} ${name} ${String(segment).padStart(4, '0')}:${String(offset).padStart(4, '0')}${kind === 'function' && scope !== 'public' ? ` ${size}` : ''}`

const RECORD = /\d+ \| (S_PUB32|S_[GL](?:PROC|DATA|THREAD)32) \[size = \d+\] `(.*)`\n(?:.*\n)??.*addr = (\d+:\d+)(?:, code size = (\d+))?/g

const spelledByLlvm = (text: string): string[] =>
  [...text.matchAll(RECORD)].map(([, kind, name, at, size]) => `${kind} ${name} ${at}${size === undefined ? '' : ` ${size}`}`)

const all = (pdb: Pdb): PdbSymbol[] => [...pdb.globals(), ...pdb.modules().flatMap((m) => m.symbols)]

describe.each(['mingw', 'msvc'])('the PDB that lld writes (%s)', (name) => {
  const pdb = readPdb(fixture(`${name}.pdb`))

  it('is that of its image', () => {
    const rsds = readCodeView(readPe(fixture(`${name}.dll`)))
    expect({ guid: pdb.guid, age: pdb.age }).toEqual({ guid: rsds?.guid, age: rsds?.age })
    expect(golden(`${name}.pdb.dump`).replaceAll('-', '')).toContain(`GUID: {${pdb.guid}}`)
  })

  it('has the symbols that llvm-pdbutil finds', () => {
    const found = all(pdb).map(spelled).sort()
    expect(found).toEqual(spelledByLlvm(golden(`${name}.pdb.dump`)).sort())
    expect(found.length).toBeGreaterThan(20)
  })

  it('knows the source file of each module', () => {
    expect(pdb.modules().map((m) => m.sourceFile)).toEqual(['one.c', 'two.c', 'three.cc', undefined])
  })
})

it('reads damaged PDBs or fails with a code', () => {
  const originals = ['mingw.pdb', 'msvc.pdb'].map(fixture)
  const change = fc.record({
    at: fc.nat(),
    value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
    width: fc.constantFrom(1, 4),
    early: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.nat(originals.length - 1), fc.array(change, { minLength: 1, maxLength: 6 }), (which, changes) => {
      const data = (originals[which] as Uint8Array).slice()
      for (const { at, value, width, early } of changes) {
        const from = at % (early ? 64 : data.length)
        data.fill(value, from, from + width)
      }
      try {
        all(readPdb(data))
      } catch (error) {
        expect(error).toBeInstanceOf(HotpatchError)
      }
    }),
    { numRuns: 300 },
  )
})

it('refuses what was rearranged after the link, and streams that share their blocks', () => {
  expect(() => readPdb(new Uint8Array(10))).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }))
  const data = fixture('msvc.pdb')
  expect(() => readPdb(data.subarray(0, 5000))).toThrow(expect.objectContaining({ code: 'TRUNCATED' }))
})
