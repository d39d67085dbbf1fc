import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { type CodeViewSections, codeViewTypes } from '../codeview/debug-types.ts'
import { typeServerOf } from '../codeview/type-server.ts'
import { codeViewSections } from '../coff/codeview-sections.ts'
import { readCoffObject } from '../coff/reader.ts'
import { viewOf } from '../struct.ts'
import type { DebugTypes, FunctionInfo, TypeDefinition } from '../types/model.ts'
import { contributionCrc, ownersOf } from './contributions.ts'
import { pdbTypes } from './debug-types.ts'
import { readPdb } from './reader.ts'
import { hasImage, readTypeServer } from './type-server.ts'

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(new URL(path, import.meta.url)))

function objectAt(path: string): CodeViewSections {
  const object = readCoffObject(read(path))
  const sections = object.kind === 'object' ? codeViewSections(object) : undefined
  if (sections === undefined) throw new Error(`${path} has no CodeView`)
  return sections
}

const C_OBJECT = '../codeview/fixtures/clang-19-msvc.obj'
const CXX_OBJECT = '../codeview/fixtures/clang-19-msvc-cxx.obj'
const own = (path: string): DebugTypes => codeViewTypes(objectAt(path)) as DebugTypes

function linked(data = read('fixtures/types.pdb')): DebugTypes[] {
  const pdb = readPdb(data)
  const modules = pdb.modules()
  const of = pdbTypes(pdb, modules)
  return modules.map((module) => of(module))
}

const served = (data = read('fixtures/server.pdb'), object = objectAt('fixtures/server.obj')): DebugTypes =>
  readTypeServer(data).of(object.symbols)

/** Kind, name, size and members (name and offset, or name and value) of all definitions that llvm-pdbutil prints and that have a name. */
function spelledByLlvm(text: string): string[] {
  const records = [
    ...text
      .slice(text.indexOf('TPI Stream'), text.indexOf('IPI Stream'))
      .matchAll(/^ +(0x[0-9A-F]+) \| (LF_\w+) \[[^\n]*\](?: `(.*)`)?\n((?: {6,}.*\n)*)/gm),
  ]
  const bodies = new Map(records.map(([, index, , , body]) => [index, body ?? '']))
  const fields = (list: string): string[] =>
    [
      ...(bodies.get(list) ?? '').matchAll(
        /- (?:LF_MEMBER \[name = `(.*)`, Type = .*, offset = (\d+)|LF_ENUMERATE \[(\w+) = (-?\d+)|LF_INDEX \[.* = (0x[0-9A-F]+))/g,
      ),
    ].flatMap(([, name, offset, enumerator, value, next]) => (next ? fields(next) : [`${name ?? enumerator}@${offset ?? value}`]))
  const KINDS: Readonly<Record<string, string>> = { LF_STRUCTURE: 'struct', LF_CLASS: 'class', LF_UNION: 'union', LF_ENUM: 'enum' }
  return records.flatMap(([, , leaf = '', name = '', body = '']) => {
    const list = /field list: (0x[0-9A-F]+)/.exec(body)?.[1]
    if (KINDS[leaf] === undefined || list === undefined || /<unnamed-|<anonymous-/.test(name)) return []
    const size = leaf === 'LF_ENUM' ? '' : ` ${/sizeof (\d+)/.exec(body)?.[1]}`
    return [`${KINDS[leaf]} ${name}${size} ${fields(list).join(' ')}`]
  })
}

function spelled(type: TypeDefinition): string {
  if (type.kind === 'enum') return `${type.key} ${type.values.map(([name, value]) => `${name}@${value}`).join(' ')}`
  const members = type.members.filter(({ inherited, name }) => !inherited && name !== '__vfptr')
  return `${type.key} ${type.size} ${members.map(({ name = '', bitOffset = 0, bitField, type: of }) => `${name}@${bitField ? unitOf(bitOffset, of) : bitOffset / 8}`).join(' ')}`
}

/** A bit-field's offset is that of the integer which it is part of. */
const unitOf = (bitOffset: number, of: unknown): number => {
  const { size } = of as { size: number }
  return Math.floor(bitOffset / 8 / size) * size
}

const definitionsOf = (types: DebugTypes): TypeDefinition[] => [...types.keys].flatMap((key) => [...types.definitions(key)])
const functionsOf = (types: DebugTypes): unknown[] =>
  types
    .functions()
    .map(({ name, type, external, variables }: FunctionInfo) => ({ name, type: text(type), external, variables: text(variables()) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
/** Sizes are where the object's compiler or the linker happened to have the definition. */
const text = (value: unknown): string => JSON.stringify(value, (key, inner) => (key === 'size' ? undefined : inner))

describe.each([
  ['types.pdb, by lld', () => linked()[0] as DebugTypes],
  ['server.pdb, as compilers make it', () => served()],
])('the types of %s', (title, types) => {
  const name = title.split(',')[0]

  it('are those that llvm-pdbutil prints', () => {
    const named = definitionsOf(types()).filter(({ key }) => key?.includes(' '))
    const golden = spelledByLlvm(Buffer.from(read(`fixtures/${name}.types`)).toString())
    expect(golden.length).toBeGreaterThan(6)
    expect(named.map(spelled).sort()).toEqual(golden.sort())
  })

  it('are those of the objects that they came from, by the names of their typedefs, too', () => {
    const from = own(C_OBJECT)
    for (const key of from.keys) expect(text(types().definitions(key)), key).toBe(text(from.definitions(key)))
    expect([...types().keys]).toContain('colour')
  })

  it('are said to be those of several objects', () => {
    expect(types().shared).toMatch(/^the PDB [0-9A-F]{32} of age 1$/)
    expect(own(C_OBJECT).shared).toBeUndefined()
  })
})

describe('functions and variables', () => {
  it.each([
    ['of a module', () => linked()[0] as DebugTypes],
    ['of an object whose types are in a PDB', () => served()],
  ])('%s are those that the object has by itself', (_what, types) => {
    expect(functionsOf(types())).toEqual(functionsOf(own(C_OBJECT)))
    const names = (of: DebugTypes) => new Set(of.variables().map((v) => `${v.storage} ${v.name} ${text(v.type)}`))
    expect(names(types())).toEqual(names(own(C_OBJECT)))
  })

  it('have the names that the linker knows them by, where other objects see them', () => {
    const names = linked()[1]?.functions() ?? []
    const linkerNames = new Map(
      own(CXX_OBJECT)
        .functions()
        .map((f) => [f.name, f.external]),
    )
    expect(names.some(({ external, name }) => external && name.startsWith('?'))).toBe(true)
    for (const { name, external } of names) if (external) expect(linkerNames.get(name), name).toBe(true)
  })
})

describe('what modules have put into the image', () => {
  it('is known by place, size and check sum of the sections of their objects', () => {
    const pdb = readPdb(read('fixtures/types.pdb'))
    const object = readCoffObject(read(C_OBJECT))
    const sections = object.kind === 'object' ? object.sections : []
    const own = pdb.contributions().filter(({ module, size }) => module === 0 && size > 0)
    expect(own.length).toBeGreaterThan(2)
    for (const { size, crc } of own)
      expect(sections.some((s) => s.size === size && (s.content === undefined || contributionCrc(s.content) === crc))).toBe(true)
  })

  it('tells whose each place is', () => {
    const contributions = readPdb(read('fixtures/types.pdb')).contributions()
    const ownerOf = ownersOf(contributions)
    for (const { module, segment, offset, size } of contributions)
      if (segment > 0 && size > 0) expect([ownerOf(segment, offset), ownerOf(segment, offset + size - 1)]).toEqual([module, module])
    const all = contributions.filter(({ segment, size }) => segment === 1 && size > 0)
    const end = Math.max(...all.map(({ offset, size }) => offset + size))
    expect([ownerOf(1, end), ownerOf(0, 0), ownerOf(999, 0)]).toEqual([undefined, undefined, undefined])
  })

  it('has the check sums of Microsoft’s linker', () => {
    // `int main() { return 42; }`: what LLVM's empty.pdb, by link.exe, has of it.
    expect(contributionCrc(Uint8Array.from(Buffer.from('558bec' + 'b82a000000' + '5dc3', 'hex')))).toBe(3617027124)
  })
})

it('an object names the PDB of its types', () => {
  const { guid, age } = readTypeServer(read('fixtures/server.pdb'))
  expect(typeServerOf(objectAt('fixtures/server.obj').types)).toEqual({ guid, age, path: 'C:\\build\\server.pdb' })
  expect(codeViewTypes(objectAt('fixtures/server.obj'))).toBeUndefined()
  expect(typeServerOf(objectAt(C_OBJECT).types)).toBeUndefined()
  expect([hasImage(read('fixtures/server.pdb')), hasImage(read('fixtures/types.pdb'))]).toEqual([false, true])
})

/** As the builder would. Whatever comes is a value or a HotpatchError. */
function readAll(make: () => readonly DebugTypes[]): void {
  try {
    for (const types of make()) {
      for (const key of types.keys) {
        types.fingerprint(key)
        types.definitions(key)
      }
      for (const f of types.functions()) f.variables()
      types.variables()
    }
  } catch (error) {
    if (!(error instanceof HotpatchError)) throw error
    expect(['MALFORMED', 'TRUNCATED', 'FORMAT_UNKNOWN']).toContain(error.code)
  }
}

describe('damaged PDBs of types', () => {
  const server = read('fixtures/server.pdb')
  const pdb = read('fixtures/types.pdb')
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
  const damaged = (bytes: Uint8Array, at: readonly (readonly [number, number])[]): Uint8Array => {
    const copy = bytes.slice()
    for (const [place, value] of at) copy[place % copy.length] = value
    return copy
  }

  it('any bytes changed: a value or a coded error', () => {
    const object = objectAt('fixtures/server.obj')
    fc.assert(
      fc.property(changes, (at) => readAll(() => [served(damaged(server, at), object)])),
      { numRuns: 1500 },
    )
    fc.assert(
      fc.property(changes, (at) => readAll(() => linked(damaged(pdb, at)))),
      { numRuns: 150 },
    )
  })

  it('any end cut off: a coded error, but for the zeros that fill the last block', () => {
    const used = server.findLastIndex((byte) => byte !== 0) + 1
    for (let length = 0; length < used; length += 61) expect(() => served(server.subarray(0, length)), `${length}`).toThrow(HotpatchError)
    expect([...served(server.subarray(0, used + 4)).keys]).toEqual([...served().keys])
  })

  it('streams that announce other records than they have are refused', () => {
    const at = Buffer.from(server).indexOf(Uint8Array.from([0x0b, 0xca, 0x31, 0x01]))
    const changed = (field: number, value: number): Uint8Array => {
      const copy = server.slice()
      viewOf(copy).setUint32(at + field, value, true)
      return copy
    }
    expect(at).toBeGreaterThan(0)
    expect(() => served(changed(0, 19990903))).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }))
    expect(() => served(changed(8, 0x2000))).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
    expect(() => served(changed(12, 0x1001))).toThrow(/announces 1 records and has \d+/)
    expect(() => served(changed(16, 0xffffff))).toThrow(expect.objectContaining({ code: 'TRUNCATED' }))
  })
})
