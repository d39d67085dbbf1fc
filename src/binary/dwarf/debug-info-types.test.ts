import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { coffDebugSections } from '../coff/debug-sections.ts'
import { isCoffObject, readCoffObject } from '../coff/reader.ts'
import { elfDebugSections } from '../elf/debug-sections.ts'
import { readElf } from '../elf/reader.ts'
import type { DebugTypes, TypeDefinition } from '../types/model.ts'
import { dwarfTypes } from './debug-info-types.ts'
import type { DebugSections } from './debug-sections.ts'

const folder = new URL('fixtures/', import.meta.url)
const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))

function sectionsOf(bytes: Uint8Array): DebugSections | undefined {
  if (!isCoffObject(bytes)) return elfDebugSections(readElf(bytes))
  const object = readCoffObject(bytes)
  return object.kind === 'object' ? coffDebugSections(object) : undefined
}

const typesOf = (name: string): DebugTypes => dwarfTypes(sectionsOf(fixture(name)) as DebugSections)

const NAMES = readdirSync(folder).filter((name) => /\.(o|so)$/.test(name))
const SAMPLE_C = NAMES.filter((name) => !name.includes('cxx'))

/** What golden.py makes of llvm-dwarfdump's words. */
interface Golden {
  readonly types: Record<
    string,
    {
      size: number
      values?: [string, number][]
      members?: [string | null, number, number | null][]
    }
  >
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

describe('types of DWARF', () => {
  it.each(NAMES)('%s: as llvm-dwarfdump has them', (name) => {
    const types = typesOf(name)
    const golden = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Golden
    const read: Golden['types'] = {}
    for (const key of [...types.keys].sort()) {
      const definitions = types.definitions(key)
      expect(definitions).toHaveLength(1)
      read[key] = goldenOf(definitions[0] as TypeDefinition)
    }
    expect(read).toEqual(golden.types)
    const plain = (mangled: string) => mangled.replace(/^_ZN.*?4read.*/, 'read').replace(/^_ZN3net\d(\w+)D\dEv$/, '~$1')
    const functions = new Set(types.functions().flatMap(({ code, name: f }) => (code ? [plain(f)] : [])))
    for (const f of golden.functions.filter((n) => !n.includes('operator'))) expect(functions).toContain(f)
  })

  it('gives one layout one fingerprint, whichever compiler and version of DWARF told it', () => {
    const prints = SAMPLE_C.filter((name) => !/mingw|arm64/.test(name)).map((name) => {
      const types = typesOf(name)
      return Object.fromEntries(
        ['struct node', 'pair_t', 'enum state', 'colour', 'union word', 'struct packed'].map((k) => [k, types.fingerprint(k)]),
      )
    })
    for (const print of prints) expect(print).toEqual(prints[0])
  })

  it('says what functions take, give and hold', () => {
    for (const name of SAMPLE_C.filter((n) => !/mingw|arm64/.test(n))) {
      const types = typesOf(name)
      const enter = types.functions().find((f) => f.code && f.name === 'enter')
      expect(enter?.external).toBe(true)
      expect(enter?.type.parameters.map(({ kind }) => kind)).toEqual(['pointer', 'named'])
      expect(enter?.type.returns).toMatchObject({ kind: 'base', name: 'int', encoding: 'signed' })
      const variables = new Map(enter?.variables().map((v) => [v.name, v]))
      expect(variables.get('frame')).toMatchObject({ storage: expect.stringMatching(/frame|parameter/) })
      expect(variables.get('by_value')).toMatchObject({
        storage: 'parameter',
        type: { kind: 'named', key: 'struct packed', size: 9 },
      })
      expect(variables.get('mine')?.type).toMatchObject({ kind: 'named', key: 'struct enter::local' })
      const walk = types.functions().find((f) => f.code && f.name === 'walk')
      expect(walk?.external).toBe(false)
      const nothing = types.functions().find((f) => f.code && f.name === 'nothing')
      expect(nothing?.type).toMatchObject({
        returns: { kind: 'void' },
        parameters: [],
        variadic: false,
      })
      expect(nothing?.variables()).toEqual([])
    }
  })

  it('says where variables of the process live', () => {
    for (const name of SAMPLE_C.filter((n) => !/mingw|arm64/.test(n))) {
      const variables = new Map(
        typesOf(name)
          .variables()
          .map((v) => [v.name, v]),
      )
      expect(variables.get('head')).toMatchObject({ storage: 'static', declared: false })
      expect(variables.get('pairs')).toMatchObject({
        storage: 'static',
        type: { kind: 'array', count: 3, of: { kind: 'named', key: 'pair_t' } },
      })
      // clang says nothing of variables that are defined elsewhere.
      if (name.startsWith('gcc'))
        expect(variables.get('elsewhere')).toMatchObject({
          declared: true,
          type: { kind: 'named', key: 'union word' },
        })
      expect(variables.get('each')).toMatchObject({ storage: 'thread' })
      expect(variables.get('calls')?.storage ?? 'static').toBe('static')
    }
  })

  it('follows pointers to functions, arrays of arrays and unnamed members', () => {
    const [node] = typesOf('gcc-12-dwarf5.o').definitions('struct node')
    if (node?.kind !== 'struct') throw new Error('struct node is a struct')
    const member = (name: string | undefined) => node.members.find((m) => m.name === name)
    expect(member('call')?.type).toMatchObject({
      kind: 'pointer',
      to: {
        kind: 'function',
        variadic: true,
        parameters: [{ kind: 'pointer' }, { kind: 'pointer' }],
      },
    })
    expect(member('matrix')).toMatchObject({
      bitSize: 96,
      type: { kind: 'array', count: 2, of: { kind: 'array', count: 3 } },
    })
    expect(member(undefined)?.type).toMatchObject({
      kind: 'unnamed',
      type: { kind: 'struct', size: 8 },
    })
    expect(member('tail')).toMatchObject({ bitSize: 0 })
    expect(member('wide')).toMatchObject({ bitField: true, bitSize: 20 })
  })

  it('knows what a class inherits and which virtual functions it has', () => {
    for (const name of NAMES.filter((n) => n.includes('cxx'))) {
      const types = typesOf(name)
      const [file] = types.definitions('class net::file')
      if (file?.kind !== 'class') throw new Error('net::file is a class')
      expect(file.members.filter((m) => m.inherited).map((m) => m.bitOffset)).toEqual([0, 128])
      expect(file.virtuals.some(({ name: f }) => f.includes('read'))).toBe(true)
      const [stream] = types.definitions('class net::stream')
      expect(stream?.kind === 'class' && stream.virtuals.length).toBeGreaterThanOrEqual(1)
      expect(stream?.kind === 'class' && stream.members.map((m) => m.name).filter((n) => n === 'open_streams')).toEqual([])
    }
  })
})

describe('damaged debug information', () => {
  const sections = sectionsOf(fixture('gcc-12-dwarf5.o')) as DebugSections
  const units = sectionsOf(fixture('gcc-12-units4.o')) as DebugSections
  const indexed = sectionsOf(fixture('clang-19-dwarf5.o')) as DebugSections

  const readAll = (damaged: DebugSections): void => {
    const types = dwarfTypes(damaged)
    for (const key of types.keys) {
      types.fingerprint(key)
      types.definitions(key)
    }
    for (const f of types.functions()) f.variables()
    types.variables()
  }

  it('is read or refused with a code, whatever the bytes', { timeout: 120_000 }, () => {
    const damage = fc.array(fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) }), { minLength: 1, maxLength: 8 })
    const which = fc.constantFrom(sections, units, indexed)
    const part = fc.constantFrom('info', 'abbrev', 'types', 'strOffsets', 'str')
    fc.assert(
      fc.property(which, part, damage, fc.option(fc.nat()), (original, name, changes, cut) => {
        const spoil = (bytes: Uint8Array): Uint8Array => {
          const copy = bytes.slice(0, cut === null ? undefined : cut % (bytes.length + 1))
          for (const { at, value } of changes) if (copy.length > 0) copy[at % copy.length] = value
          return copy
        }
        const old = original[name as keyof DebugSections]
        const damaged = { ...original, [name]: old instanceof Uint8Array ? spoil(old) : old.map(spoil) }
        try {
          readAll(damaged)
        } catch (error) {
          if (!(error instanceof HotpatchError) || error.code === 'DEFECT') throw error
        }
      }),
      { numRuns: 1500 },
    )
  })
})
