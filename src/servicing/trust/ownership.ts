/**
 * Whether a file can be changed by someone who should not: what root runs or trusts must lie on a path that only root can change. On Windows
 * there are no modes: access there is the matter of the folder's access control list, which is not looked at.
 */
import { closeSync, fstatSync, lstatSync, openSync, readFileSync, realpathSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'
import { HotpatchError } from '../../errors.ts'
import { unreadable } from '../../files.ts'

const GROUP_WRITE = 0o020
const OTHER_WRITE = 0o002
const STICKY = 0o1000

/** What tells one file of this machine from another. */
type FileIdentity = Pick<Stats, 'dev' | 'ino'>

/**
 * Reads a file whose path is all that vouches for it. Links on the way may belong to anybody: what was read must be the very file that the safe
 * path names now, so that nobody can have put another one there for a moment. Throws FILE_UNREADABLE, UNSAFE_PATH.
 */
export function readSafely(path: string, what: string): Uint8Array {
  const { bytes, identity } = readWithIdentity(path)
  requireSafePath(path, what, identity)
  return bytes
}

function readWithIdentity(path: string): { bytes: Uint8Array; identity: FileIdentity } {
  try {
    const file = openSync(path, 'r')
    try {
      const { buffer, byteOffset, byteLength } = readFileSync(file)
      return { bytes: new Uint8Array(buffer, byteOffset, byteLength), identity: fstatSync(file) }
    } finally {
      closeSync(file)
    }
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/**
 * Throws UNSAFE_PATH naming the first part of the path that someone else could change. `path` must exist.
 * @param read what was read from there, which must be what the path names
 */
export function requireSafePath(path: string, what: string, read?: FileIdentity): void {
  const uid = process.getuid?.()
  if (uid === undefined) return
  const real = realpathSync(path)
  const { dev, ino } = lstatSync(real)
  if (read !== undefined && (read.dev !== dev || read.ino !== ino))
    throw new HotpatchError('UNSAFE_PATH', `${what} ${path}: it was replaced while it was read`, { facts: { path, part: real } })
  for (let part = real; ; part = dirname(part)) {
    const problem = unsafe(lstatSync(part), part === real, uid)
    if (problem !== undefined) throw new HotpatchError('UNSAFE_PATH', `${what} ${path}: ${part} ${problem}`, { facts: { path, part } })
    if (part === dirname(part)) return
  }
}

function unsafe(stats: Stats, last: boolean, uid: number): string | undefined {
  if (stats.uid !== 0 && stats.uid !== uid) return `belongs to user ${stats.uid}`
  // In a sticky folder (/tmp) nobody can replace what belongs to another.
  if (!last && (stats.mode & STICKY) !== 0) return undefined
  if ((stats.mode & OTHER_WRITE) !== 0) return 'can be written by everyone'
  if ((stats.mode & GROUP_WRITE) !== 0 && stats.gid !== 0 && uid === 0) return `can be written by group ${stats.gid}`
  return undefined
}
