/** The stand-in, run by the system's shell, with a compiler that says what it was asked for. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { readCalls } from './calls.ts'
import { wrapperScript } from './wrapper.ts'
import { compilersIn, makeWrappers } from './wrappers.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), "it's a wrapper-")))
afterAll(() => rmSync(root, { recursive: true }))
const [compiler, records, wrapper, log] = ['compiler', 'records', 'wrapper', 'log'].map((name) => join(root, name)) as [
  string,
  string,
  string,
  string,
]
mkdirSync(records)
writeFileSync(compiler, `#!/bin/sh\nprintf '%s|' "$@" >>"${log}"\necho >>"${log}"\nexit \${STATUS:-0}\n`, { mode: 0o755 })
writeFileSync(wrapper, wrapperScript(compiler, records), { mode: 0o755 })

/** What the compiler was called with, a line for each call. */
function ask(args: readonly string[], environment = {}): { calls: string[]; status: number | null } {
  writeFileSync(log, '')
  const { status, stderr } = spawnSync(wrapper, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...environment } })
  if (stderr !== '') throw new Error(stderr)
  return { status, calls: readFileSync(log, 'utf8').trimEnd().split('\n') }
}
const SECTIONS = '-ffunction-sections|-fdata-sections|'

describe.skipIf(process.platform === 'win32')('the stand-in', () => {
  test('adds its flags behind all else, and -g before', () => {
    expect(ask(['-O2', '-c', 'a b.c']).calls).toEqual([`-g|-O2|-c|a b.c|${SECTIONS}`])
  })

  test.each(['-g', '-g3', '-g0', '-ggdb', '-gdwarf-4', '-gline-tables-only'])('leaves %s alone', (flag) => {
    expect(ask([flag, '-c', 'a.c']).calls).toEqual([`${flag}|-c|a.c|${SECTIONS}`])
  })

  test('notes what was asked for, response files with what they hold', () => {
    writeFileSync(join(root, 'objects.rsp'), 'a.o "b c.o"')
    ask(['-o', 'p', '@objects.rsp'])
    expect(readCalls(records).at(-1)).toEqual({ folder: root, args: ['-o', 'p', 'a.o', 'b c.o'] })
  })

  test('takes apart what makes a program from sources', () => {
    const objects = `${records}/objects${root}`
    const { calls } = ask(['-O2', '-I', 'in', 'a.c', '-Wl,-z,now', 'sub/b.cc', '-lm', '-L', 'lib', 'c.o', '-pie', '-o', 'out/p'])
    expect(calls).toEqual([
      `-g|-O2|-I|in|${SECTIONS}-c|a.c|-o|${objects}/p.1.a.c.o|`,
      `-g|-O2|-I|in|${SECTIONS}-c|sub/b.cc|-o|${objects}/p.2.b.cc.o|`,
      `-g|-O2|-I|in|${objects}/p.1.a.c.o|-Wl,-z,now|${objects}/p.2.b.cc.o|-lm|-L|lib|c.o|-pie|-o|out/p|`,
    ])
  })

  test.each([[['-E', 'a.c']], [['-M', 'a.c']], [['-fsyntax-only', 'a.c']], [['--version']]])('makes nothing of %j', (args) => {
    expect(ask(args).calls).toEqual([`-g|${args.join('|')}|${SECTIONS}`])
  })

  test('a value that looks like a source is none', () => {
    expect(ask(['-o', 'odd.c', 'a.o']).calls).toEqual([`-g|-o|odd.c|a.o|${SECTIONS}`])
  })

  test('fails as the compiler does, and goes on no further', () => {
    const failed = ask(['a.c', 'b.c'], { STATUS: '3' })
    expect(failed.status).toBe(3)
    expect(failed.calls.length).toBe(1)
  })
})

describe.skipIf(process.platform === 'win32')('compilers in PATH', () => {
  const names = ['gcc', 'clang++-19', 'x86_64-w64-mingw32-gcc-posix', 'gcc-ar', 'ccache', 'clang-format', 'not-executable-gcc']
  const folder = mkdtempSync(join(tmpdir(), 'compilers-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  for (const name of names) writeFileSync(join(folder, name), '#!/bin/sh\n', { mode: 0o755 })
  chmodSync(join(folder, 'not-executable-gcc'), 0o644)

  test('by name: not their tools, nor what cannot be run', () => {
    expect([...compilersIn(`${folder}:relative`).keys()].sort()).toEqual(['clang++-19', 'gcc', 'x86_64-w64-mingw32-gcc-posix'])
  })

  test('a whole path in the environment is led to the stand-in', () => {
    const added = makeWrappers(join(folder, 'made'), records, { PATH: folder, CC: `${folder}/gcc -m64`, CXX: '/elsewhere/strange' })
    expect(added).toEqual({ PATH: `${join(folder, 'made')}:${folder}`, CC: `${join(folder, 'made/gcc')} -m64` })
  })
})
