import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { distrustKey, trustedKeys, trustKey } from './keyring.ts'
import { generateKey } from './keys.ts'
import { readSafely, requireSafePath } from './ownership.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpatch-keys-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('trusted keys', () => {
  test('a key is trusted until it is distrusted', () => {
    const { publicPem, id } = generateKey()
    trustKey('vendor', publicPem, folder)
    expect(trustedKeys(folder).map((key) => [key.name, key.id])).toEqual([['vendor', id]])
    expect(distrustKey(id, folder).name).toBe('vendor')
    expect(trustedKeys(folder)).toEqual([])
  })

  test('a name is never given to another key without a word', () => {
    const first = generateKey()
    trustKey('vendor', first.publicPem, folder)
    trustKey('vendor', first.publicPem, folder)
    expect(() => trustKey('vendor', generateKey().publicPem, folder)).toThrow(/KEY_EXISTS/)
    expect(trustedKeys(folder)[0]?.id).toBe(first.id)
  })

  test('a folder that everyone can write is not looked into, whatever lies in it', () => {
    const { publicPem } = generateKey()
    trustKey('vendor', publicPem, folder)
    chmodSync(folder, 0o777)
    expect(() => trustedKeys(folder)).toThrow(/UNSAFE_PATH/)
    chmodSync(folder, 0o755)
    expect(trustedKeys(folder).length).toBe(1)
  })

  test('what was read must be what the path names', () => {
    const [file, other, link] = ['file', 'other', 'link'].map((name) => join(folder, name)) as [string, string, string]
    writeFileSync(file, 'one')
    writeFileSync(other, 'two')
    symlinkSync(file, link)
    expect(Buffer.from(readSafely(link, 'x')).toString()).toBe('one')
    // As if the link had led to the other while it was read.
    expect(() => requireSafePath(link, 'x', statSync(other))).toThrow(/UNSAFE_PATH.*replaced/)
    expect(() => requireSafePath(link, 'x', statSync(file))).not.toThrow()
    expect(() => readSafely(join(folder, 'absent'), 'x')).toThrow(/FILE_UNREADABLE/)
  })

  test('a name cannot lead out of the folder', () => {
    for (const name of ['../vendor', '', '.hidden', 'a/b'])
      expect(() => trustKey(name, generateKey().publicPem, folder)).toThrow(/KEY_INVALID/)
  })

  test('no folder, no keys; an unknown key cannot be distrusted', () => {
    expect(trustedKeys(join(folder, 'absent'))).toEqual([])
    expect(() => distrustKey('vendor', folder)).toThrow(/KEY_UNKNOWN/)
  })
})

describe.skipIf(process.platform === 'win32')('safe paths (POSIX modes; Windows has none)', () => {
  test('a file or a folder that everyone can write is refused by name', () => {
    const file = join(folder, 'vendor.pub')
    writeFileSync(file, generateKey().publicPem)
    requireSafePath(file, 'trusted key')
    chmodSync(file, 0o666)
    expect(() => requireSafePath(file, 'trusted key')).toThrow(/vendor.pub can be written by everyone/)
    chmodSync(file, 0o600)
    chmodSync(folder, 0o777)
    expect(() => trustedKeys(folder)).toThrow(/UNSAFE_PATH.*can be written by everyone/)
  })

  test('a link is judged by where it leads', () => {
    const loose = mkdtempSync(join(tmpdir(), 'hotpatch-loose-'))
    chmodSync(loose, 0o777)
    writeFileSync(join(loose, 'real.pub'), generateKey().publicPem)
    symlinkSync(join(loose, 'real.pub'), join(folder, 'vendor.pub'))
    expect(() => trustedKeys(folder)).toThrow(/UNSAFE_PATH/)
    rmSync(loose, { recursive: true })
  })
})
