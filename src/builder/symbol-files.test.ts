/** Base images that are stripped, their symbols in another file. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readElf } from '../binary/elf/reader.ts'
import { HotpatchError } from '../errors.ts'
import { type BuildOptions, buildPatch } from './build.ts'
import { readBases } from './images.ts'
import { refuseStrangers } from './strangers.ts'

const fixture = (path: string): string => new URL(`fixtures/${path}`, import.meta.url).pathname

const build = (objects: string, base: string, symbols: readonly string[] = []) => {
  const options: BuildOptions = {
    before: fixture(`${objects}/before`),
    after: fixture(`${objects}/after`),
    base,
    symbols,
    sequence: 1,
    id: 'service-1',
    description: '',
    cves: [],
  }
  const built = buildPatch(options)
  if (built.outcome !== 'built') throw new Error(built.outcome)
  return built
}

/** What a call throws, by its code. */
function refusal(run: () => unknown): HotpatchError {
  try {
    run()
  } catch (error) {
    if (error instanceof HotpatchError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const strangersOf = (bases: readonly string[], symbols: readonly string[]): void => refuseStrangers(readBases(bases, symbols).strangers, [])

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpatch-symbols-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const copy = (from: string, to: string): string => {
  const path = join(folder, to)
  mkdirSync(dirname(path), { recursive: true })
  cpSync(fixture(from), path)
  return path
}

describe('a shared object without its symbol table', () => {
  const STRIPPED = 'gcc-stripped-so/libservice.so'
  const DEBUG = 'gcc-stripped-so/libservice.so.debug'
  const withSymbols = () => build('gcc-so', fixture('gcc-so/libservice.so')).image

  it.each([
    ['the debug file', DEBUG],
    ['the unstripped image', 'gcc-so/libservice.so'],
  ])('with %s, gives the patch image that the unstripped one gives', (_what, symbols) => {
    const base = copy(STRIPPED, 'given/libservice.so')
    const built = build('gcc-so', base, [fixture(symbols)])
    expect(built.report.base.symbols).toBe(fixture(symbols))
    expect(Buffer.compare(built.image, withSymbols())).toBe(0)
  })

  it('with the linker map, finds the same function, and the statics by the names of their sections', () => {
    const base = copy(STRIPPED, 'map/libservice.so')
    const built = build('gcc-so', base, [fixture('gcc-stripped-so/ld.map')])
    const whole = build('gcc-so', fixture('gcc-so/libservice.so'))
    expect(built.report.functions.map((f) => [f.name, f.rva, f.found])).toEqual(whole.report.functions.map((f) => [f.name, f.rva, f.found]))
  })

  it('with a linker map of lld, finds what its own symbol table named', () => {
    const [base] = readBases([fixture('gcc-stripped-so/lld.so')], [fixture('gcc-stripped-so/lld.map')]).bases
    const named = (name: string) => base?.symbols.filter((s) => s.name === name).map((s) => s.size)
    expect(named('weigh')?.length).toBe(2)
    expect(new Set(named('twice')).size).toBe(1)
    expect(base?.lacks('no_such_static', true)).toBe(true)
    expect(build('gcc-so', fixture('gcc-stripped-so/lld.so'), [fixture('gcc-stripped-so/lld.map')]).report.functions[0]?.found).toBe(
      'symbol',
    )
  })

  it.each([
    ['under its build id', (id: string) => `.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`],
    ['under its name', () => 'libservice.so.debug'],
  ])('is looked for in a folder %s', (where, name) => {
    const base = copy(STRIPPED, `${where}/libservice.so`)
    const id = readElf(new Uint8Array(readFileSync(base))).buildId() ?? ''
    const debug = copy(DEBUG, join(where, 'symbols', name(id)))
    expect(build('gcc-so', base, [join(folder, where, 'symbols')]).report.base.symbols).toBe(debug)
  })

  it.each(['', '.debug'])('is found beside the image without a word (%s)', (within) => {
    const base = copy(STRIPPED, `beside${within}/libservice.so`)
    const debug = copy(DEBUG, join(`beside${within}`, within, 'libservice.so.debug'))
    expect(build('gcc-so', base).report.base.symbols).toBe(debug)
  })

  it('with the compressed table of functions that it has in itself, knows these by name and concludes nothing from what is missing there', () => {
    const path = copy('gcc-stripped-so/mini.so', 'mini/libservice.so')
    const [base] = readBases([path], []).bases
    const [whole] = readBases([fixture('gcc-so/libservice.so')], []).bases
    const functions = (of: typeof base) =>
      of?.symbols.filter((s) => s.kind === 'function').map((s) => `${s.binding} ${s.name} ${s.rva} ${s.size}`)
    expect(functions(base)?.sort()).toEqual(functions(whole)?.sort())
    expect(functions(base)?.filter((line) => line.startsWith('local weigh '))).toHaveLength(2)
    expect([base?.symbolFile, base?.lacks('no_such_static', true), base?.lacks('no_such_function', false)]).toEqual([
      undefined,
      false,
      false,
    ])
    expect(build('gcc-so', path).report.functions[0]?.found).toBe('symbol')
  })

  it('says where that table is damaged, and does without', () => {
    const bytes = readFileSync(fixture('gcc-stripped-so/mini.so'))
    bytes.writeUInt8(1, bytes.indexOf(Buffer.from('fd377a585a', 'hex')) + 40)
    const path = join(folder, 'damaged-mini.so')
    writeFileSync(path, bytes)
    const { bases, notes } = readBases([path], [])
    expect(bases[0]?.symbols.some((s) => s.name === 'weigh')).toBe(false)
    expect(notes).toEqual([expect.stringMatching(/^the compressed symbol table in .*damaged-mini\.so cannot be read: /)])
  })

  it('does without where the contents tell', () => {
    const built = build('gcc-so', copy(STRIPPED, 'alone/libservice.so'))
    expect(built.report.base.symbols).toBeUndefined()
    expect(built.report.functions[0]?.rva).toBe(build('gcc-so', fixture('gcc-so/libservice.so')).report.functions[0]?.rva)
  })

  it('refuses symbols of another build, and passes over those that it found itself', () => {
    const base = copy(STRIPPED, 'other/libservice.so')
    const other = fixture('gcc-patchable-so/libservice.so')
    const error = refusal(() => strangersOf([base], [other]))
    expect([error.code, error.detail]).toEqual(['SYMBOLS_MISMATCH', expect.stringMatching(/its build id is [0-9a-f]{40}, the image's/)])
    cpSync(other, join(folder, 'other/libservice.so.debug'))
    expect(readBases([base], [])).toMatchObject({ bases: [{ symbolFile: undefined }], notes: [expect.stringContaining('build id')] })
    writeFileSync(join(folder, 'other/libservice.so.debug'), readFileSync(fixture(DEBUG)).subarray(0, 700))
    expect(readBases([base], []).notes).toEqual([expect.stringMatching(/libservice\.so\.debug cannot be read/)])
  })

  it('holds the check sum of .gnu_debuglink against a file, where there is no build id', () => {
    // The note's name is made another one: so there is no build id.
    const without = (from: string): Uint8Array => {
      const bytes = new Uint8Array(readFileSync(fixture(from)))
      const at = Buffer.from(bytes).indexOf(Buffer.from([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0]))
      bytes[at + 12] = 0x58
      return bytes
    }
    const base = join(folder, 'crc.so')
    writeFileSync(base, without(STRIPPED))
    expect(readBases([base], [fixture(DEBUG)]).bases[0]?.symbolFile).toBe(fixture(DEBUG))
    const damaged = join(folder, 'crc.debug')
    const bytes = new Uint8Array(readFileSync(fixture(DEBUG)))
    // e_ident's padding.
    bytes[15] = 1
    writeFileSync(damaged, bytes)
    expect(refusal(() => strangersOf([base], [damaged])).detail).toContain('its check sum is not the one in .gnu_debuglink')
  })

  it('refuses the map of another link', () => {
    const error = refusal(() => strangersOf([fixture(STRIPPED)], [fixture('gcc-stripped-so/lld.map')]))
    expect([error.code, error.detail]).toEqual(['SYMBOLS_MISMATCH', expect.stringContaining('at another place or of another size')])
  })
})

describe('a DLL without its symbol table', () => {
  const places = (built: ReturnType<typeof build>) => built.report.functions.map((f) => [f.name, f.rva, f.found])

  it('with its PDB, and with the map of lld', () => {
    const base = copy('clang-pdb-dll/service.dll', 'pdb/service.dll')
    const pdb = build('clang-pdb-dll', base, [fixture('clang-pdb-dll/service.pdb')])
    expect(places(pdb)).toEqual([['service_handle', expect.any(Number), 'symbol']])
    expect(places(build('clang-pdb-dll', base, [fixture('clang-pdb-dll/lld.map')]))).toEqual(places(pdb))
    copy('clang-pdb-dll/service.pdb', 'pdb/service.pdb')
    expect(build('clang-pdb-dll', base).report.base.symbols).toBe(join(folder, 'pdb/service.pdb'))
  })

  it('tells statics of one name apart by the source files that the PDB names', () => {
    const [base] = readBases([fixture('clang-pdb-dll/service.dll')], [fixture('clang-pdb-dll/service.pdb')]).bases
    const weigh = base?.symbols.filter((s) => s.name === 'weigh')
    expect(weigh?.map((s) => [s.binding, s.file?.replace(/^.*\//, ''), s.size > 0]).sort()).toEqual([
      ['local', 'audit.c', true],
      ['local', 'service.c', true],
    ])
    expect(base?.lacks('no_such_function', true)).toBe(true)
    // The linker knows a static variable of a function, and all of C++, under another name than the PDB.
    expect([base?.lacks('service_handle.last', true), base?.lacks('_ZL5twicei', true), base?.lacks('?twice@@YAHH@Z', true)]).toEqual([
      false,
      false,
      false,
    ])
  })

  it('with the symbol table that objcopy took away, gives the patch image that the whole one gives', () => {
    const base = copy('mingw-stripped-dll/service.dll', 'mingw/service.dll')
    const whole = build('mingw-dll', fixture('mingw-dll/service.dll'))
    expect(places(build('mingw-dll', base, [fixture('mingw-stripped-dll/service.dll.debug')]))).toEqual(places(whole))
    expect(places(build('mingw-dll', base, [fixture('mingw-stripped-dll/ld.map')]))).toEqual(places(whole))
    copy('mingw-stripped-dll/service.dll.debug', 'mingw/.debug/service.dll.debug')
    expect(build('mingw-dll', base).report.base.symbols).toBe(join(folder, 'mingw/.debug/service.dll.debug'))
  })

  it.each([
    ['clang-pdb-dll/service.pdb', 'mingw-stripped-dll/service.dll', /names no PDB/],
    ['mingw-dll/service.dll', 'mingw-stripped-dll/service.dll', /check sum/],
    ['clang-pdb-dll/lld.map', 'mingw-stripped-dll/service.dll', /another place/],
    ['source/service.c', 'clang-pdb-dll/service.dll', /neither a PDB nor/],
  ])('refuses %s for %s', (symbols, base, detail) => {
    const error = refusal(() => strangersOf([fixture(base)], [fixture(symbols)]))
    expect([error.code, error.detail]).toEqual(['SYMBOLS_MISMATCH', expect.stringMatching(detail)])
  })

  it('refuses the PDB of another build', () => {
    const pdb = new Uint8Array(readFileSync(fixture('clang-pdb-dll/service.pdb')))
    const guid = readBases([fixture('clang-pdb-dll/service.dll')], []).bases[0]?.identity.buildId?.slice(0, 8) ?? ''
    const sought = Buffer.from(guid, 'hex').reverse()
    for (let at = Buffer.from(pdb).indexOf(sought); at >= 0; at = Buffer.from(pdb).indexOf(sought)) pdb[at] = (pdb[at] as number) ^ 1
    const path = join(folder, 'other.pdb')
    writeFileSync(path, pdb)
    expect(refusal(() => strangersOf([fixture('clang-pdb-dll/service.dll')], [path])).detail).toContain('it is the PDB')
  })
})
