/** The source tree: copied, so that the vendor's own stays as it is, and patched between the builds. */
import { cpSync, existsSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { HotpatchError } from '../errors.ts'
import { unreadable } from '../files.ts'
import { lastWords, run } from './run.ts'

/** Copies with times, so that a tree which was built before is not made anew; links stay links. Throws FILE_UNREADABLE. */
export function copyTree(source: string, tree: string): void {
  try {
    if (!statSync(source).isDirectory()) throw new HotpatchError('FILE_UNREADABLE', `${source} is no folder`)
    cpSync(source, tree, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  } catch (cause) {
    throw cause instanceof HotpatchError ? cause : unreadable(source, cause)
  }
}

export interface Fix {
  /** A unified diff. */
  readonly diff: string
  /** Folders to take off the paths in it, as `patch -p` does; undefined: 1, or 0 where that fits. */
  readonly strip: number | undefined
}

/** Throws DIFF_REJECTED with what `patch` said, TOOL_MISSING. */
export async function applyFix({ diff, strip }: Fix, tree: string, log: string): Promise<void> {
  if (!existsSync(diff)) throw unreadable(diff, Object.assign(new Error(), { code: 'ENOENT' }))
  const patch = (levels: number, ...more: string[]) =>
    run(['patch', `-p${levels}`, '--forward', '--batch', '--no-backup-if-mismatch', '--reject-file=-', ...more, '-i', resolve(diff)], {
      folder: tree,
      environment: { ...process.env, LC_ALL: 'C' },
      log,
    })
  for (const levels of strip === undefined ? [1, 0] : [strip])
    if ((await patch(levels, '--dry-run')) === 0) {
      if ((await patch(levels)) === 0) return
      break
    }
  // What is said of the usual way is of more use than what is said of the last one tried.
  await patch(strip ?? 1, '--dry-run')
  throw new HotpatchError('DIFF_REJECTED', `${diff} does not apply to ${join(tree)}:\n${lastWords(log, 20)}`, { facts: { log } })
}
