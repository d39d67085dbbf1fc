import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleSnapshot, COMPILED_AT_ONCE } from '../../tools/arm64/bundle.ts'
import { clone } from '../../tools/places.ts'

const ENTRY = 'test/arm64/snapshot-on-windows'

// The entry for Windows asks for nothing of Windows' before a program does, so that a snapshot of it can be made here.
describe('programs start from a snapshot', () => {
  let folder: string
  let dist: string
  const node = (...args: string[]): SpawnSyncReturns<string> =>
    spawnSync(process.execPath, [...COMPILED_AT_ONCE, '--snapshot-blob', join(folder, 'blob'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    })

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hotpatch-snapshot-'))
    dist = join(folder, 'payload/dist')
    await bundleSnapshot(ENTRY, dist)
    cpSync(join(clone, 'package.json'), join(dist, 'package.json'))
    symlinkSync(join(clone, 'node_modules'), join(folder, 'node_modules'))
    const { status, stderr } = node('--build-snapshot', join(dist, `${ENTRY}.cjs`))
    expect(status, stderr).toBe(0)
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('by the file that would be run without it, with its arguments and exit code', () => {
    const file = join(folder, 'none.so')
    writeFileSync(file, 'no patch image')
    const { status, stdout, stderr } = node(join(dist, 'src/cli/main.js'), 'inspect', file, '--json')
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ command: 'inspect', outcome: 'error', exit: status })
    expect(status).toBe(6)
  })

  test('native modules are loaded when they are used, and what is thrown ends the program', () => {
    const { status, stderr } = node(join(dist, 'src/process/testing/other-engine.js'), '99999999', join(folder, 'ready'))
    expect([status, stderr]).toEqual([1, expect.stringContaining('PROCESS_GONE: there is no process 99999999')])
  })

  test('no other program does', () => {
    const { status, stderr } = node(join(dist, 'other.js'))
    expect([status, stderr]).toEqual([1, expect.stringContaining(`${join(dist, 'other.js')} is not in the snapshot`)])
  })
})
