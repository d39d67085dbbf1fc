/**
 * Whether a file can be changed by someone who should not: what root runs or trusts must lie on a path that only root can change. On Windows
 * there are no modes: access there is the matter of the folder's access control list, which is not looked at.
 */
import { lstatSync, realpathSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'
import { HotpatchError } from '../../errors.ts'

const GROUP_WRITE = 0o020
const OTHER_WRITE = 0o002
const STICKY = 0o1000

/** Throws UNSAFE_PATH naming the first part of the path that someone else could change. `path` must exist. */
export function requireSafePath(path: string, what: string): void {
  const uid = process.getuid?.()
  if (uid === undefined) return
  const real = realpathSync(path)
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
