/** Builds whose objects have no types: what the command line says when PDBs have them. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { clone, workshop } from '../../tools/places.ts'
import { json } from './hotpatch.ts'

const FIXTURES = join(clone, 'src/builder/layouts/fixtures/pdb')
const at = (path: string): string => join(FIXTURES, path)
const place = join(workshop, 'e2e/types-in-pdbs')
const out = join(place, 'list.hotpatch.dll')
beforeAll(() => mkdirSync(place, { recursive: true }))

const GROWN = expect.objectContaining({
  code: 'LAYOUT_CHANGED',
  symbol: 'struct listed',
  detail: expect.stringMatching(
    /16 bytes before, 24 after; limit was added .*reached through struct listed\.next, first; used in add_listed/,
  ),
})

/** Those of the linker lie in the folders of the builds, those of compilers beside each object. */
const build = (objects: string, after: string) =>
  json(
    'build',
    '--before',
    at(`${objects}before`),
    '--after',
    at(`${objects}${after}`),
    '--base',
    at('app.dll'),
    '--symbols',
    at('before/app.pdb'),
    '-o',
    out,
  )

describe.each([
  ['the linker’s', ''],
  ['compilers’', 'zi/'],
])('types in %s PDBs', (_whose, objects) => {
  test('a fix that lets one grow is refused with type, members, sizes and users', async () => {
    expect(await build(objects, 'grown')).toMatchObject({ exit: 3, error: { code: 'REFUSED', facts: { reasons: [GROWN] } } })
  })

  test('one that does not is built', async () => {
    const { exit, result } = await build(objects, 'fixed')
    expect([exit, result.report.diff.layouts]).toEqual([0, { compared: 1, without: [] }])
  })
})

test('diff takes them with --symbols, and refuses those of other builds', async () => {
  const diff = (...symbols: string[]) =>
    json('diff', at('zi/before/list.obj'), at('zi/grown/list.obj'), ...symbols.flatMap((path) => ['--symbols', at(path)]))
  expect(await diff('before/app.pdb', 'grown/app.pdb')).toMatchObject({ outcome: 'refused', exit: 3 })
  expect(await diff('fixed/app.pdb')).toMatchObject({ exit: 6, error: { code: 'SYMBOLS_MISMATCH' } })
})
