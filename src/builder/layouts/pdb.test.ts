/** Types that only PDBs know: those of compilers beside the objects, those that linkers have written. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { type BuildOptions, buildPatch } from '../build.ts'
import { buildUpdate } from '../build-update.ts'
import { diffBuilds } from '../diff.ts'

const fixture = (path: string): string => new URL(`fixtures/pdb/${path}`, import.meta.url).pathname
const base = fixture('app.dll')
const APP_PDB = fixture('before/app.pdb')

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpatch-pdb-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A folder with the given files of the fixtures; the place within is the last part of each, or what is behind `=`. */
let count = 0
function room(...files: string[]): string {
  const at = join(folder, `${count++}`)
  for (const file of files) {
    const [from = '', to = from.replace(/^.*\//, '')] = file.split('=')
    mkdirSync(join(at, to, '..'), { recursive: true })
    cpSync(fixture(from), join(at, to))
  }
  return at
}

const objects = (build: string): string => room(`${build}/list.obj`, `${build}/user.obj`)

const options = (before: string, after: string, symbols: readonly string[]): BuildOptions => {
  const naming = { sequence: 1, id: 'list-1', description: '', cves: [] }
  return { before, after, base, symbols, ...naming }
}

const built = (before: string, after: string, symbols: readonly string[]) => {
  const outcome = buildPatch(options(before, after, symbols))
  if (outcome.outcome !== 'built') throw new Error(outcome.outcome)
  return outcome.report
}

function refusal(work: () => unknown): HotpatchError {
  try {
    work()
  } catch (error) {
    if (error instanceof HotpatchError) return error
    throw error
  }
  throw new Error('it was not refused')
}

const GROWN = expect.objectContaining({
  code: 'LAYOUT_CHANGED',
  symbol: 'struct listed',
  file: expect.stringMatching(/(^|\/)list\.obj$/),
  detail: expect.stringMatching(
    /^16 bytes before, 24 after; limit was added \(long long, 8 bytes at byte 16\); reached through struct listed\.next, first; used in add_listed/,
  ),
})

describe.each([
  ['PDBs of compilers, beside the objects', (build: string) => [fixture(`zi/${build}`), [APP_PDB]] as const],
  ['PDBs of compilers, in a folder above', (build: string) => [above(build), [APP_PDB]] as const],
  [
    'PDBs of compilers that are given',
    (build: string) => [objects(`zi/${build}`), [APP_PDB, ...compilers('before'), ...compilers(build)]] as const,
  ],
  [
    'PDBs of compilers in a folder that is given',
    (build: string) => [objects(`zi/${build}`), [APP_PDB, fixture('zi/before'), fixture(`zi/${build}`)]] as const,
  ],
  ['PDBs of the linker that are given', (build: string) => [objects(build), [APP_PDB, fixture(`${build}/app.pdb`)]] as const],
  ['PDBs of the linker, in the folders of the builds', (build: string) => [fixture(build), [APP_PDB]] as const],
  [
    'PDBs of the linker, for objects whose own are lost',
    (build: string) => [objects(`zi/${build}`), [APP_PDB, fixture(`${build}/app.pdb`)]] as const,
  ],
])('types in %s', (_where, build) => {
  it('refuse what lets one grow, with its members and users', () => {
    const [before] = build('before')
    const [after, symbols] = build('grown')
    const { code, facts } = refusal(() => buildPatch(options(before, after, symbols)))
    expect([code, facts.reasons]).toEqual(['REFUSED', [GROWN]])
  })

  it('let through what leaves them as they are', () => {
    const [before] = build('before')
    const [after, symbols] = build('fixed')
    const { functions, diff, notes } = built(before, after, symbols)
    expect(functions.map(({ name }) => name)).toEqual(['add_listed'])
    expect([diff.layouts, diff.notes, notes]).toEqual([{ compared: 1, without: [] }, [], []])
  })
})

const above = (build: string): string =>
  room(
    ...['list', 'user'].flatMap((name) => [
      `zi/${build}/${name}.obj=obj/sub/${name}.obj`,
      `zi/${build}/${name}.pdb=${name.toUpperCase()}.pdb`,
    ]),
  )
const compilers = (build: string): string[] => ['list', 'user'].map((name) => fixture(`zi/${build}/${name}.pdb`))

describe('diff', () => {
  it('compares types in PDBs of compilers beside the objects, and in those of linkers that are given', () => {
    for (const report of [
      diffBuilds(fixture('zi/before'), fixture('zi/grown')),
      diffBuilds(objects('before'), objects('grown'), undefined, [APP_PDB, fixture('grown/app.pdb')]),
    ]) {
      expect(report.outcome).toBe('refused')
      expect(report.items.flatMap(({ kind, reasons }) => (kind === 'type' ? reasons : []))).toEqual([GROWN])
    }
  })

  it('takes what is no PDB of the builds for a mistake', () => {
    const given = (file: string) => refusal(() => diffBuilds(objects('before'), objects('grown'), undefined, [file]))
    expect([given(base).code, given(base).detail]).toEqual(['SYMBOLS_MISMATCH', expect.stringContaining('it is no PDB')])
    expect(given(fixture('fixed/app.pdb')).detail).toMatch(/has no types of the objects \(it has another list\.obj\)/)
    expect(given(fixture('zi/fixed/list.pdb')).detail).toMatch(/has no types of the objects \(no object has its types there\)/)
    const served = refusal(() => diffBuilds(fixture('zi/before'), fixture('zi/grown'), undefined, [fixture('zi/fixed/list.pdb')]))
    expect(served.detail).toMatch(/has no types of the objects \(it is the PDB [0-9A-F]{32}, the object's is [0-9A-F]{32}\)/)
  })
})

describe('PDBs that are not of the objects', () => {
  const notesOf = (before: string, after: string, symbols: readonly string[] = [APP_PDB]) => {
    const { diff } = built(before, after, symbols)
    expect(diff.layouts).toEqual({ compared: 0, without: ['list.obj'] })
    return diff.notes.find((note) => note.startsWith('layouts were not compared')) ?? ''
  }

  it('are not found: the object says where its types are', () => {
    expect(notesOf(objects('zi/before'), objects('zi/fixed'), [])).toMatch(
      /list\.obj: its types are in C:\\build\\list\.pdb, which was not found$/,
    )
  })

  it('have another GUID, an earlier age, or are damaged', () => {
    const wrong = room('zi/before/list.obj', 'zi/before/user.obj', 'zi/fixed/list.pdb')
    expect(notesOf(wrong, fixture('zi/fixed'), [])).toMatch(/list\.pdb: it is the PDB [0-9A-F]{32}, the object's is [0-9A-F]{32}$/)
    const early = room('zi/before/list.obj', 'zi/before/user.obj', 'zi/before/list.pdb')
    const bytes = readFileSync(join(early, 'list.pdb'))
    // Version, signature, age.
    const information = bytes.indexOf(Buffer.from('942e3101', 'hex'))
    bytes.writeUInt32LE(2, information + 8)
    writeFileSync(join(early, 'list.pdb'), bytes)
    expect(notesOf(early, fixture('zi/fixed'), [])).toMatch(/list\.pdb: it has age 2, and the object needs 3$/)
    bytes.writeUInt32LE(4, information + 8)
    writeFileSync(join(early, 'list.pdb'), bytes)
    expect(built(early, fixture('zi/fixed'), []).diff.layouts).toEqual({ compared: 1, without: [] })
    writeFileSync(join(early, 'list.pdb'), bytes.subarray(0, 700))
    expect(notesOf(early, fixture('zi/fixed'), [])).toMatch(/list\.pdb: it cannot be read: /)
  })

  it('are of another build, by what they say of an object that differs', () => {
    const other = room('fixed/list.obj', 'fixed/user.obj', 'grown/app.pdb')
    expect(notesOf(fixture('before'), other, [])).toMatch(/app\.pdb has no types for it: it has another list\.obj$/)
    const swapped = room('fixed/list.obj', 'fixed/user.obj', 'before/app.pdb')
    expect(notesOf(fixture('before'), swapped, [])).toMatch(/app\.pdb has no types for it: it is of the other build$/)
  })

  it('are refused where they were given', () => {
    const { code, detail } = refusal(() => built(objects('before'), objects('fixed'), [APP_PDB, fixture('grown/app.pdb')]))
    expect(code).toBe('SYMBOLS_MISMATCH')
    expect(detail).toMatch(
      /grown\/app\.pdb is not of .*app\.dll: it is the PDB .*; it has no types of the objects \(it has another list\.obj\)/,
    )
    const naming = { sequence: 1, description: '', cves: [] }
    const update = { before: objects('before'), after: objects('fixed'), bases: [{ base, id: 'list-1' }], ...naming }
    expect(refusal(() => buildUpdate({ ...update, symbols: [fixture('grown/app.pdb')] })).code).toBe('SYMBOLS_MISMATCH')
    expect(buildUpdate({ ...update, symbols: [APP_PDB, fixture('fixed/app.pdb')] })[0]?.report.diff.layouts.compared).toBe(1)
  })

  it('tell nothing where both builds have their types in one', () => {
    // Compiled over the same PDB, as a build in one folder does: the later state has all types, and an earlier object is served by it.
    const shared = (build: string) => room(`zi/${build}/list.obj`, `zi/${build}/user.obj`, 'zi/before/list.pdb')
    const after = shared('fixed')
    const [from, to] = ['before', 'fixed'].map((build) => readFileSync(join(fixture(`zi/${build}`), 'list.obj')))
    const reference = (bytes: Buffer) => bytes.indexOf('C:\\build\\list.pdb') - 20
    from?.copy(to as Buffer, reference(to as Buffer), reference(from), reference(from) + 20)
    writeFileSync(join(after, 'list.obj'), to as Buffer)
    expect(notesOf(shared('before'), after)).toMatch(
      /the types of both builds are in the PDB [0-9A-F]{32} of age 3, which does not tell them apart$/,
    )
  })
})
