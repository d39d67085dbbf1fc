import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { VERSION } from '../version.ts'
import { runHotpatch } from './app.ts'

async function hotpatch(...args: string[]) {
  const out: string[] = []
  const err: string[] = []
  const process = {
    stdout: { write: (text: string) => void out.push(text) },
    stderr: { write: (text: string) => void err.push(text) },
    env: {},
    exitCode: null as number | string | null,
  }
  await runHotpatch(args, process)
  return { exit: Number(process.exitCode), out: out.join(''), err: err.join('') }
}

const COMMANDS = ['diff', 'build', 'inspect', 'check', 'apply', 'status', 'verify', 'rollback', 'sign'] as const

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpatch-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('help', () => {
  test('names every command and the exit codes', async () => {
    const { exit, out } = await hotpatch('--help')
    expect(exit).toBe(0)
    for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'))
    expect(out).toContain('Exit codes: 0 done')
  })

  test.each(COMMANDS)('%s has an example and --json', async (command) => {
    const { exit, out } = await hotpatch(command, '--help')
    expect(exit).toBe(0)
    expect(out).toContain(`Example: hotpatch ${command}`)
    expect(out).toContain('--json')
  })

  test('--version', async () => {
    expect((await hotpatch('--version')).out.trim()).toBe(VERSION)
  })
})

describe('a command line that is not understood is exit 2', () => {
  test.each([
    ['an unknown command', ['frobnicate']],
    ['an unknown flag', ['diff', '--frobnicate', 'a', 'b']],
    ['a missing argument', ['diff', 'a']],
    ['a missing flag', ['apply', 'patch.so']],
    ['a process id that is none', ['apply', '--pid', '12x', 'patch.so']],
    ['a sequence number of 0', ['build', '--before', 'a', '--after', 'b', '--base', 'c', '-o', 'd', '--sequence', '0']],
    ['a CVE id that is none', ['build', '--before', 'a', '--after', 'b', '--base', 'c', '-o', 'd', '--cve', '2023-0809']],
    ['an id with a slash', ['rollback', '--pid', '1', '--id', 'a/b']],
  ])('%s', async (_name, args) => {
    const { exit, err } = await hotpatch(...args)
    expect(exit).toBe(2)
    expect(err).not.toBe('')
  })
})

test('with --json, that is one JSON document too', async () => {
  const { exit, out, err } = await hotpatch('apply', '--json', '--pid', '12x', 'patch.so')
  expect([exit, err]).toEqual([2, ''])
  expect(JSON.parse(out)).toMatchObject({
    command: 'apply',
    outcome: 'error',
    exit: 2,
    error: { code: 'USAGE', detail: expect.stringContaining('12x') },
  })
})

describe('errors', () => {
  test('words: code, what happened, what to do; nothing on standard output', async () => {
    const { exit, out, err } = await hotpatch('inspect', join(folder, 'absent'))
    expect(exit).toBe(6)
    expect(out).toBe('')
    expect(err).toContain('FILE_UNREADABLE')
    expect(err).toContain('there is no such file')
    expect(err).toContain('→')
  })

  test('JSON: one document with the same', async () => {
    const { exit, out, err } = await hotpatch('inspect', '--json', join(folder, 'absent'))
    expect(exit).toBe(6)
    expect(err).toBe('')
    expect(JSON.parse(out)).toMatchObject({
      hotpatch: VERSION,
      command: 'inspect',
      outcome: 'error',
      exit: 6,
      error: { code: 'FILE_UNREADABLE', detail: expect.stringContaining('absent') },
    })
  })

  test('a file that is no image is named and refused', async () => {
    const file = join(folder, 'text')
    writeFileSync(file, 'hello')
    const { exit, err } = await hotpatch('inspect', file)
    expect(exit).toBe(6)
    expect(err).toContain('FORMAT_UNKNOWN')
    expect(err).toContain(file)
  })
})

describe('keys', () => {
  test('a generated private key is its owner’s alone, and nothing is overwritten', async () => {
    const file = join(folder, 'vendor.key')
    expect((await hotpatch('keys', 'generate', file)).exit).toBe(0)
    if (process.platform !== 'win32') expect(statSync(file).mode & 0o777).toBe(0o600)
    const before = readFileSync(file, 'utf8')
    const again = await hotpatch('keys', 'generate', file)
    expect([again.exit, readFileSync(file, 'utf8')]).toEqual([6, before])
    expect(again.err).toContain('the file exists already')
  })
})
