/** Damaged files. The long run is `npx tsx test/hostile/run.ts --count 5000000`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { crash, isReader, SAMPLES } from './readers.ts'
import { runHostile } from './run.ts'

const MUTATIONS = 100_000

test('there is a sample for every reader', () => {
  expect([...new Set(SAMPLES.map(({ reader }) => reader))].sort()).toEqual([
    'archive',
    'elf-image',
    'map',
    'object',
    'patch',
    'pdb',
    'pe-image',
    'xz',
  ])
})

test.each(SAMPLES.map((sample) => [sample.name, sample] as const))('%s is read undamaged', (_name, sample) => {
  expect(crash(sample, sample.bytes)).toBeUndefined()
})

test(`${MUTATIONS} damaged files: an answer or an error with a code, no crash, no hang, bounded memory`, { timeout: 900_000 }, async () => {
  expect(await runHostile(1, MUTATIONS)).toEqual({ mutations: MUTATIONS, crashers: [] })
})

const folder = new URL('crashers/', import.meta.url)
const crashers = existsSync(folder) ? readdirSync(folder) : []
describe.skipIf(crashers.length === 0)('what crashed a reader once', () => {
  test.each(crashers)('%s', (file) => {
    const reader = file.replace(/-[0-9a-f]+\.bin$/, '')
    if (!isReader(reader)) throw new Error(`${file} names no reader`)
    expect(crash({ reader }, new Uint8Array(readFileSync(new URL(file, folder))))).toBeUndefined()
  })
})
