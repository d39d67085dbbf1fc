/** author/hotpatch-shadow.c alone, under four threads. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'

const OUTCOME = 'touched 400000 kept 50 living 0 undropped 0 wrong 0'

test.each([
  { compiler: 'gcc', flags: ['-O2', '-Wextra', '-Werror'] },
  { compiler: 'clang-19', flags: ['-O2', '-Wextra', '-Werror'] },
  // Two threads that touch the same memory without order are reported, and end the program with a failure.
  { compiler: 'gcc', flags: ['-O1', '-g', '-fsanitize=thread'] },
])('$compiler $flags', { timeout: 120_000 }, async ({ compiler, flags }) => {
  const folder = join(workshop, 'author')
  mkdirSync(folder, { recursive: true })
  const program = join(folder, `shadow-${compiler}${flags.at(-1)}`)
  const allocator = ['-DHOTPATCH_SHADOW_CALLOC=counted_calloc', '-DHOTPATCH_SHADOW_FREE=counted_free']
  const sources = [join(clone, 'test/author/shadow-stress.c'), join(clone, 'author/hotpatch-shadow.c')]
  await mustRun(compiler, ['-Wall', '-pthread', ...flags, ...allocator, ...sources, '-o', program])
  // At the addresses that newer kernels give at random, ThreadSanitizer of gcc 12 refuses to run.
  const { stdout, stderr } = await mustRun('setarch', ['-R', program])
  expect({ stdout: stdout.trim(), stderr }).toEqual({ stdout: OUTCOME, stderr: '' })
})
