/** Who may bring a patch into a process: the vendor's and the administrator's commands, from key to apply. */
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildServer } from '../../demo/server/build.ts'
import { keys, type Server, targets } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { json } from './hotpatch.ts'

const place = join(workshop, 'e2e/trust')
const patch = join(place, 'fix.so')
const key = join(place, 'vendor.key')
let server: Server
const apply = (file: string, ...flags: string[]) => json('apply', '--pid', `${server.pid}`, ...flags, file)

beforeAll(async () => {
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  rmSync(keys, { recursive: true, force: true })
  const { before, after, base } = await buildServer(targets.elf, join(place, 'server'))
  await json('build', '--before', before, '--after', after, '--base', base, '-o', patch)
  server = await targets.elf.start(base, ['0'])
})
afterAll(async () => {
  await server?.stop()
  rmSync(keys, { recursive: true, force: true })
})

test('an unsigned patch image is refused, and the process is left alone', async () => {
  expect(await apply(patch)).toMatchObject({ exit: 3, error: { code: 'SIGNATURE_MISSING' } })
  expect(await json('status', '--pid', `${server.pid}`)).toMatchObject({ outcome: 'nothing-patched' })
})

test('one that a stranger has signed is refused until the stranger is trusted', async () => {
  expect(await json('keys', 'generate', key)).toMatchObject({ outcome: 'generated', exit: 0 })
  expect(await json('sign', '--key', key, patch)).toMatchObject({ outcome: 'signed', exit: 0 })
  expect(await apply(patch)).toMatchObject({ exit: 3, error: { code: 'SIGNATURE_UNTRUSTED' } })
  expect(await json('keys', 'trust', 'vendor', `${key}.pub`)).toMatchObject({ outcome: 'trusted', exit: 0 })
  expect(await apply(patch)).toMatchObject({ outcome: 'applied', exit: 0, result: { signedBy: { name: 'vendor' } } })
  expect(await json('rollback', '--pid', `${server.pid}`)).toMatchObject({ outcome: 'rolled-back', exit: 0 })
})

test('one that was changed after it was signed is refused', async () => {
  const changed = join(place, 'changed.so')
  const bytes = readFileSync(patch)
  const at = 0x1004 // in the code of the first function
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(changed, bytes)
  const { exit, error } = await apply(changed)
  expect({ exit, code: error.code }).toEqual({ exit: 3, code: 'SIGNATURE_INVALID' })
})

test('a key that everyone can replace is not trusted', async () => {
  chmodSync(join(keys, 'vendor.pub'), 0o666)
  expect(await apply(patch)).toMatchObject({ exit: 3, error: { code: 'UNSAFE_PATH' } })
  chmodSync(join(keys, 'vendor.pub'), 0o644)
})

test('--allow-unsigned takes what its path is worth', async () => {
  chmodSync(patch, 0o666)
  expect(await apply(patch, '--allow-unsigned')).toMatchObject({ exit: 3, error: { code: 'UNSAFE_PATH' } })
  chmodSync(patch, 0o644)
  expect(await apply(patch, '--allow-unsigned')).toMatchObject({ outcome: 'applied', exit: 0 })
})
