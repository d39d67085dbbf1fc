/** PE patch images before tools that others made: llvm-readobj, objdump, and the loader of Wine. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readLoadConfig, readRuntimeFunctions } from '../../src/binary/pe/directories.ts'
import { directory, readPe } from '../../src/binary/pe/reader.ts'
import { buildPatch } from '../../src/builder/build.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import { runInWine, shutdownWine, windowsPath, wineAvailable } from '../../tools/wine.mjs'

const ROOT = join(import.meta.dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'hotpatch-pe-'))
const patch = join(work, 'patch.dll')

const outcome = buildPatch({
  before: join(ROOT, 'src/binary/coff/fixtures/mingw-gcc12.o'),
  after: join(ROOT, 'src/builder/pe/fixtures/mingw-gcc12-after.o'),
  base: join(ROOT, 'src/builder/pe/fixtures/ld-gcc12.dll'),
  id: 'fix-1',
  sequence: 1,
  description: '',
  cves: [],
})
if (outcome.outcome !== 'built') throw new Error('nothing was built')
writeFileSync(patch, outcome.image)
const image = readPe(outcome.image)

const has = (tool: string): boolean => spawnSync(tool, ['--version']).status === 0
const readobj = ['llvm-readobj-19', 'llvm-readobj-14', 'llvm-readobj'].find(has)
const output = (tool: string, args: readonly string[]): string => {
  const run = spawnSync(tool, args, { encoding: 'utf8' })
  expect(run.status, run.stderr).toBe(0)
  return run.stdout + run.stderr
}

afterAll(() => rmSync(work, { recursive: true }))

describe('a patch image for PE', () => {
  it.skipIf(readobj === undefined)('is read by llvm-readobj without complaint', () => {
    const text = output(readobj as string, ['--all', '--coff-load-config', '--coff-basereloc', '--coff-exports', '--unwind', patch])
    expect(text).not.toMatch(/warning|error|invalid/i)
    for (const part of ['RuntimeFunction {', 'LoadConfig [', 'Export {', 'BaseReloc [']) expect(text).toContain(part)
    expect(text).toMatch(/HotPatchTableOffset: 0x[1-9A-F]/)
  })

  it.skipIf(!has('objdump'))('is read and disassembled by objdump without complaint', () => {
    const text = output('objdump', ['-x', '-d', patch])
    expect(text).not.toMatch(/warning|invalid|corrupt/i)
    expect(text).toMatch(/^[0-9a-f]+ <brand_new>:$/m)
  })

  const wine = wineAvailable()
  const compiler = 'x86_64-w64-mingw32-gcc'
  it.skipIf(!wine.available || !has(compiler))('is loaded by Wine’s loader, with its exports and unwind information', async () => {
    const loader = join(work, 'loads.exe')
    output(compiler, ['-O2', join(import.meta.dirname, 'loads.c'), '-o', loader])
    const config = directory(image, 'LOAD_CONFIG')?.rva ?? 0
    const script =
      "const r = require('node:child_process').spawnSync(process.argv[1], process.argv.slice(2)); console.log(String(r.stdout))"
    try {
      const run = await runInWine(['-e', script, windowsPath(loader), windowsPath(patch), config.toString(16), 'add', 'sw'])
      expect(run.status, run.stderr).toBe(0)
      const lines = run.stdout.trim().split(/\r?\n/)
      const hex = (value: number): string => value.toString(16)
      const expected = readPatchImage(outcome.image).manifest.functions.map((f) => {
        const record = readRuntimeFunctions(image).find((r) => r.BeginAddress === f.patchRva)
        return `${f.name} ${hex(f.patchRva)} ${hex(f.patchRva)} ${hex(record?.EndAddress ?? 0)}`
      })
      expect(lines).toEqual([`table ${hex(readLoadConfig(image)?.HotPatchTableOffset ?? 0)}`, ...expected])
    } finally {
      await shutdownWine()
    }
  })
})
