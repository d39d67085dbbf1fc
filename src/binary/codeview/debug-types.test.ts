import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { codeViewSections } from '../coff/codeview-sections.ts'
import { readCoffObject } from '../coff/reader.ts'
import { viewOf } from '../struct.ts'
import type { Aggregate, DebugTypes, TypeDefinition } from '../types/model.ts'
import { type CodeViewSections, codeViewTypes } from './debug-types.ts'
import { CV_SIGNATURE_C13, FIRST_INDEX, LF } from './type-definitions.ts'
import { CodeViewTypeReader } from './type-reader.ts'
import { TypeRecords } from './type-records.ts'

const folder = new URL('fixtures/', import.meta.url)

function sectionsOf(name: string): CodeViewSections {
  const object = readCoffObject(new Uint8Array(readFileSync(new URL(name, folder))))
  const sections = object.kind === 'object' ? codeViewSections(object) : undefined
  if (sections === undefined) throw new Error(`${name} has no CodeView`)
  return sections
}

function typesOf(sections: CodeViewSections): DebugTypes {
  const types = codeViewTypes(sections)
  if (types === undefined) throw new Error('the types are in another file')
  return types
}

/** What golden.py makes of llvm-readobj's words. */
interface Golden {
  readonly types: Record<string, { size: number; values?: [string, number][]; members?: [string | null, number, number | null][] }>
  readonly functions: string[]
}

function goldenOf(type: TypeDefinition): Golden['types'][string] {
  if (type.kind === 'enum') return { size: type.size, values: type.values.map(([name, value]) => [name, value]) }
  const members = type.members.map((m): [string | null, number, number | null] => [
    m.name ?? null,
    m.bitOffset ?? -1,
    m.bitField ? (m.bitSize ?? -1) : null,
  ])
  return { size: type.size, members }
}

const NAMES = readdirSync(folder).filter((name) => name.endsWith('.obj'))
const C_NAMES = NAMES.filter((name) => !name.includes('cxx'))

describe('types of CodeView', () => {
  it.each(NAMES)('%s: as llvm-readobj has them', (name) => {
    const types = typesOf(sectionsOf(name))
    const golden: Golden = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8'))
    expect(Object.keys(golden.types).length).toBeGreaterThan(3)
    const read: Golden['types'] = {}
    for (const key of [...types.keys].sort()) {
      const definitions = types.definitions(key)
      expect(definitions).toHaveLength(1)
      read[key] = goldenOf(definitions[0] as TypeDefinition)
    }
    expect(read).toEqual(golden.types)
    expect(
      types
        .functions()
        .map((f) => f.name)
        .sort(),
    ).toEqual(golden.functions)
  })

  describe.each(C_NAMES)('%s', (name) => {
    const types = typesOf(sectionsOf(name))
    const member = (key: string, field: string) => (types.definitions(key)[0] as Aggregate).members.find((m) => m.name === field)

    it('sees through typedefs and qualifiers, and names what a typedef alone names', () => {
      expect([...types.keys]).toContain('colour')
      expect(member('struct node', 'shade')?.type).toEqual({ kind: 'named', key: 'colour', size: 4 })
      expect(member('struct node', 'state')?.type).toEqual({ kind: 'named', key: 'enum state', size: 4 })
    })

    it('has arrays with their counts, pointers, functions with their arguments, unnamed types', () => {
      const char = { kind: 'base', name: 'char', size: 1, encoding: 'signed' }
      expect(member('struct node', 'name')?.type).toEqual({ kind: 'array', of: char, count: 16 })
      expect(member('struct node', 'matrix')?.type).toMatchObject({ kind: 'array', of: { kind: 'array' } })
      expect(member('struct node', 'next')?.type).toMatchObject({ kind: 'pointer', size: 8, to: { kind: 'named', key: 'struct node' } })
      expect(member('struct node', 'call')?.type).toMatchObject({
        kind: 'pointer',
        to: {
          kind: 'function',
          returns: { name: 'int' },
          variadic: true,
          parameters: [{ kind: 'pointer' }, { kind: 'pointer', to: char }],
        },
      })
      expect(member('struct node', 'limits')?.type).toMatchObject({ kind: 'unnamed', type: { kind: 'struct', size: 8 } })
    })

    it('has functions with their variables, and variables of the file', () => {
      const enter = types.functions().find((f) => f.name === 'enter')
      expect(enter).toMatchObject({ external: true, code: true, type: { kind: 'function' } })
      expect(enter?.variables().length).toBeGreaterThan(0)
      expect(types.variables().every(({ storage }) => storage === 'static' || storage === 'thread')).toBe(true)
      expect(types.variables().length).toBeGreaterThan(0)
    })
  })

  it('classes have their bases, their virtual functions and these their places', () => {
    const types = typesOf(sectionsOf('clang-19-msvc-cxx.obj'))
    const classes = [...types.keys].flatMap((key) => types.definitions(key)).filter((type) => type.kind !== 'enum')
    const virtuals = classes.flatMap((type) => type.virtuals)
    expect(virtuals.some(({ slot }) => slot !== undefined)).toBe(true)
    expect(classes.some(({ members }) => members.some(({ inherited }) => inherited))).toBe(true)
  })

  it('types in a PDB or a precompiled header are not known', () => {
    for (const kind of [LF.TYPESERVER2, LF.PRECOMP])
      expect(codeViewTypes({ types: sectionOf([record(kind, new Uint8Array(24))]), symbols: [] })).toBeUndefined()
  })
})

const record = (kind: number, data: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(4 + data.length)
  viewOf(bytes).setUint16(0, data.length + 2, true)
  viewOf(bytes).setUint16(2, kind, true)
  bytes.set(data, 4)
  return bytes
}

const sectionOf = (records: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(Buffer.concat([Uint8Array.of(CV_SIGNATURE_C13, 0, 0, 0), ...records]))

/** As `types.ts` of the passes would. Whatever comes is a value or a HotpatchError. */
function readAll(sections: CodeViewSections): void {
  try {
    const types = codeViewTypes(sections)
    if (types === undefined) return
    for (const key of types.keys) {
      types.fingerprint(key)
      types.definitions(key)
    }
    for (const f of types.functions()) f.variables()
    types.variables()
  } catch (error) {
    if (!(error instanceof HotpatchError)) throw error
    expect(['MALFORMED', 'TRUNCATED']).toContain(error.code)
  }
}

describe('damaged CodeView', () => {
  it('a field list of several records is one, and one that continues in itself is refused', () => {
    const member = (name: string) => Buffer.concat([Buffer.from([0x0d, 0x15, 3, 0, 0x74, 0, 0, 0, 0, 0]), Buffer.from(`${name}\0`)])
    const next = (index: number) => Buffer.from([0x04, 0x14, 0, 0, index & 0xff, index >> 8, 0, 0])
    const struct = (list: number) =>
      Buffer.concat([Buffer.from([2, 0, 0, 0, list & 0xff, list >> 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]), Buffer.from('two\0')])
    const records = (continuation: number) => [
      record(LF.FIELDLIST, member('second')),
      record(LF.FIELDLIST, Buffer.concat([member('first'), next(continuation)])),
      record(LF.STRUCTURE, struct(0x1001)),
    ]
    const whole = typesOf({ types: sectionOf(records(0x1000)), symbols: [] })
    expect((whole.definitions('struct two')[0] as Aggregate).members.map(({ name }) => name)).toEqual(['first', 'second'])
    const endless = typesOf({ types: sectionOf(records(0x1001)), symbols: [] })
    expect(() => endless.definitions('struct two')).toThrow(/MALFORMED|continues in itself/)
  })

  it('any bytes of real objects changed: a value or a coded error', () => {
    const all = NAMES.map(sectionsOf)
    fc.assert(
      fc.property(
        fc.nat(all.length - 1),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        (which, changes, inTypes) => {
          const { types, symbols } = all[which] as CodeViewSections
          const damaged = (bytes: Uint8Array): Uint8Array => {
            const copy = bytes.slice()
            for (const [at, value] of changes) copy[4 + (at % (copy.length - 4))] = value
            return copy
          }
          readAll(
            inTypes
              ? { types: damaged(types), symbols }
              : { types, symbols: symbols.map((part) => ({ ...part, content: damaged(part.content) })) },
          )
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('an item of a function that leads to itself leads nowhere', () => {
    const data = new Uint8Array(Uint32Array.of(0, FIRST_INDEX).buffer)
    const reader = new CodeViewTypeReader(new TypeRecords([{ kind: LF.FUNC_ID, data, offset: 0 }]), new Map())
    expect(reader.typeOfFunctionItem(FIRST_INDEX)).toBeUndefined()
  })

  it('any records at all: a value or a coded error', () => {
    const kinds = fc.constantFrom(...Object.values(LF), 0, 0xffff)
    // Words that are likely to be indices of records, so that records refer to each other.
    const word = fc.oneof(fc.integer({ min: 0x1000, max: 0x1010 }), fc.nat(0xffffffff), fc.constantFrom(...Object.values(LF)))
    const data = fc.array(word, { maxLength: 12 }).map((words) => new Uint8Array(Uint32Array.from(words).buffer))
    fc.assert(
      fc.property(fc.array(fc.tuple(kinds, data), { maxLength: 16 }), (records) => {
        readAll({ types: sectionOf(records.map(([kind, bytes]) => record(kind, bytes))), symbols: [] })
      }),
      { numRuns: 2000 },
    )
  })
})
