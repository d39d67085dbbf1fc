/** A patch image in the hands of those who know nothing of hotpatch: binutils, LLVM, gdb, the C library's loader and unwinder. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildPatch } from '../../src/builder/build.ts'
import { threadLocalModule } from '../../src/engine/thread-local/module-elf.ts'
import { buildThreads, MAKES } from '../engine/threads.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`../../src/builder/elf/fixtures/${name}`, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'hotpatch-elf-'))
const loader = join(folder, 'load')

function run(command: string, ...rest: string[]): { output: string; complaints: string; status: number | null } {
  const { stdout, stderr, status, error } = spawnSync(command, rest, { encoding: 'utf8' })
  if (error) throw error
  return { output: stdout, complaints: stderr, status }
}

beforeAll(() => {
  const made = run('gcc', '-O1', fileURLToPath(new URL('load.c', import.meta.url)), '-o', loader)
  expect(made).toMatchObject({ complaints: '', status: 0 })
})
afterAll(() => rmSync(folder, { recursive: true }))

describe.each(['g++-12', 'clang++-19'])('a patch image made of objects of %s', (compiler) => {
  const patch = join(folder, `${compiler}.so`)
  beforeAll(() => {
    const built = buildPatch({
      before: fixture(`${compiler}-before.o`),
      after: fixture(`${compiler}-after.o`),
      base: fixture(`${compiler}-base`),
      sequence: 1,
      id: 'sample',
      description: '',
      cves: [],
    })
    if (built.outcome !== 'built') throw new Error('nothing was built')
    writeFileSync(patch, built.image)
  })

  test.each([
    ['readelf', '-aW'],
    ['readelf', '--debug-dump=frames'],
    ['objdump', '-dr'],
    ['nm', '-a'],
    ['llvm-readobj-19', '--all'],
    ['llvm-readelf-19', '--all', '--unwind'],
    ['llvm-objdump-19', '-dr'],
    ['llvm-dwarfdump-19', '--eh-frame', '--verify'],
  ])('%s %s has no complaint', (command, ...flags) => {
    const { output, complaints, status } = run(command, ...flags, patch)
    expect(complaints).toBe('')
    expect(status).toBe(0)
    expect(output).not.toMatch(/warning|error:/i)
  })

  test('gdb shows the functions by name', () => {
    const { output } = run('gdb', '-nx', '-batch', '-ex', 'info functions', '-ex', 'disassemble pick', patch)
    expect(output).toMatch(/0x[0-9a-f]+ {2}pick\n/)
    expect(output).toContain('Dump of assembler code for function pick')
  })

  test('the loader maps and relocates it; the unwinder finds its functions', () => {
    const { output } = run(loader, patch, 'pick', 'added', 'absent')
    expect(output).toBe('pick is pick, with unwind data\nadded is added, with unwind data\nabsent is nothing\ndelta epsilon zeta\n')
  })

  test('what can be stripped can be stripped: the loader needs no section headers', () => {
    const stripped = join(folder, `${compiler}-stripped.so`)
    expect(run('llvm-strip-19', '--strip-sections', patch, '-o', stripped)).toMatchObject({ complaints: '', status: 0 })
    expect(run(loader, stripped, 'pick').output).toContain('pick is pick, with unwind data')
  })
})

describe('a patch image with thread-local variables', () => {
  const patch = join(folder, 'threads.so')
  beforeAll(() => {
    const [make] = MAKES.elf
    if (make === undefined) throw new Error('no program')
    const built = buildThreads(make)
    writeFileSync(patch, built.patch('after'))
    rmSync(built.folder, { recursive: true })
  })

  test.each([
    ['readelf', '-aW'],
    ['objdump', '-dr'],
    ['llvm-readobj-19', '--all'],
  ])('%s %s has no complaint', (command, ...flags) => {
    expect(run(command, ...flags, patch)).toMatchObject({ complaints: '', status: 0 })
  })

  test('readelf shows them with their offsets in the block', () => {
    const { output } = run('readelf', '-lsW', patch)
    expect(output).toMatch(/ TLS +0x\w+ 0x\w+ 0x\w+ 0x000020 0x000020 R/)
    expect(output).toMatch(/: 0000000000000008 +24 TLS +LOCAL +DEFAULT +\d+ late\n/)
    expect(output).toMatch(/: 0000000000000000 +8 TLS +GLOBAL PROTECTED +\d+ counter_fresh\n/)
  })

  test("the C library's loader takes it, and the module that the engine makes of it", () => {
    expect(run(loader, patch, '__nothing')).toEqual({ output: '__nothing is nothing\n', complaints: '', status: 0 })
    const module = join(folder, 'module.so')
    const content = Uint8Array.from({ length: 40 }, (_, i) => i)
    writeFileSync(module, threadLocalModule('x64', { content, alignment: 16 }, 3).bytes)
    const { output, status } = run(loader, module, 'hotpatch_thread_local_distance')
    expect({ output, status }).toEqual({ output: 'hotpatch_thread_local_distance is hotpatch_thread_local_distance\n', status: 0 })
    expect(run('readelf', '-aW', '--lint', module)).toMatchObject({ complaints: '', status: 0 })
    expect(run('llvm-readobj-19', '--all', module)).toMatchObject({ complaints: '', status: 0 })
  })
})
