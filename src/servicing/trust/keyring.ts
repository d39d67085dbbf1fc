/**
 * The keys that this machine trusts: every `*.pub` file of the key folders. A file's name is for people; what counts is the key in it.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { HotpatchError } from '../../errors.ts'
import { type PublicKey, readPublicKey } from './keys.ts'
import { readSafely, requireSafePath } from './ownership.ts'

export interface TrustedKey extends PublicKey {
  /** The file's name without `.pub`. */
  readonly name: string
  readonly file: string
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Where trusted keys lie: HOTPATCH_KEYS, else /etc/hotpatch/keys for root, else the user's own folder. */
export function keyFolder(): string {
  const named = process.env.HOTPATCH_KEYS
  if (named !== undefined && named !== '') return named
  if (process.platform === 'win32') return join(process.env.ProgramData ?? 'C:\\ProgramData', 'hotpatch', 'keys')
  return process.getuid?.() === 0
    ? '/etc/hotpatch/keys'
    : join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'hotpatch', 'keys')
}

/** Sorted by name. Empty where the folder does not exist. Throws UNSAFE_PATH, KEY_INVALID. */
export function trustedKeys(folder = keyFolder()): TrustedKey[] {
  if (!existsSync(folder)) return []
  requireSafePath(folder, 'key folder')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.pub'))
    .sort()
    .map((name) => {
      const file = join(folder, name)
      const pem = Buffer.from(readSafely(file, 'trusted key')).toString('utf8')
      return { ...readPublicKey(pem, file), name: name.slice(0, -'.pub'.length), file }
    })
}

/** Trusts a key under a name. Throws KEY_INVALID for a name or key that is none, KEY_EXISTS where the name is another key's. */
export function trustKey(name: string, pem: string, folder = keyFolder()): TrustedKey {
  if (!NAME.test(name)) throw new HotpatchError('KEY_INVALID', `"${name}" is no name for a key: letters, digits, dot, dash and underscore`)
  const key = readPublicKey(pem, name)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  requireSafePath(folder, 'key folder')
  const file = join(folder, `${name}.pub`)
  if (existsSync(file) && readPublicKey(readFileSync(file, 'utf8'), file).id !== key.id)
    throw new HotpatchError('KEY_EXISTS', `${file} holds another key`)
  writeFileSync(file, pem)
  chmodSync(file, 0o644)
  return { ...key, name, file }
}

/** Ends the trust in a key. Throws KEY_UNKNOWN. */
export function distrustKey(nameOrId: string, folder = keyFolder()): TrustedKey {
  const key = trustedKeys(folder).find(({ name, id }) => name === nameOrId || id === nameOrId)
  if (key === undefined) throw new HotpatchError('KEY_UNKNOWN', `${folder} holds no key "${nameOrId}"`)
  rmSync(key.file)
  return key
}
