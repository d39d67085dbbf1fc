/** Modules that the loader mapped into a process. */
import { existsSync } from 'node:fs'
import { HotpatchError } from '../../errors.ts'
import type { MappedModule } from '../contract.ts'
import { moduleEntries } from './snapshot.ts'
import { goneOr, type Target } from './target.ts'

/** Main program first, then in the order of loading. Throws PROCESS_GONE. */
export function modulesOf(target: Target): MappedModule[] {
  const entries = moduleEntries(target.pid)
  if (entries.length === 0)
    throw goneOr(
      target,
      () => new HotpatchError('PROCESS_UNSUPPORTED', `process ${target.pid} has no modules yet, or Windows does not list them`),
    )
  return entries.map(({ szModule, szExePath, modBaseAddr, modBaseSize }) => ({
    name: szExePath.slice(szExePath.lastIndexOf('\\') + 1) || szModule,
    path: szExePath,
    base: modBaseAddr,
    size: modBaseSize,
    // Windows keeps a mapped file from being deleted or written; what an update can do is to rename it.
    deleted: !existsSync(szExePath),
    format: 'pe',
  }))
}
