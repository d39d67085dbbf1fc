/**
 * One engine at a time, by a named mutex. Windows lets it go when the engine ends, however it ends; who takes it then is told that it
 * was abandoned, which is as good as free: what was left unfinished, the ledger tells.
 */
import { HotpatchError } from '../../errors.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Handle } from '../../os/windows/library.ts'
import { ERROR, errorName, lastError } from '../../os/windows/status.ts'
import { once } from '../once.ts'
import { goneOr, hasEnded, type Target } from './target.ts'

const WAIT = { OBJECT_0: 0, ABANDONED: 0x80, TIMEOUT: 0x102 } as const
/** For all sessions; where that is closed to us (an application container), for this one. */
const SCOPES = ['Global\\', 'Local\\'] as const

/** A mutex that a thread has, it may take again: within this program the names decide. */
const held = new Set<string>()

/** `Process.lock`. */
export function lockProcess(target: Target, incarnation: string): () => void {
  const name = `hotpatch-${target.pid}-${incarnation}`
  if (hasEnded(target)) throw new HotpatchError('PROCESS_GONE', `process ${target.pid} (${target.name}) has ended`)
  if (held.has(name)) throw atWork(target)
  const mutex = openMutex(target, name)
  const waited = win32.WaitForSingleObject(mutex, 0)
  if (waited !== WAIT.OBJECT_0 && waited !== WAIT.ABANDONED) {
    const error = lastError()
    win32.CloseHandle(mutex)
    if (waited === WAIT.TIMEOUT) throw atWork(target)
    throw new HotpatchError('DEFECT', `process ${target.pid} cannot be locked: ${errorName(error)}`)
  }
  held.add(name)
  return once(() => {
    held.delete(name)
    win32.ReleaseMutex(mutex)
    win32.CloseHandle(mutex)
  })
}

function openMutex(target: Target, name: string): Handle {
  let error = 0
  for (const scope of SCOPES) {
    const mutex = win32.CreateMutexW(null, 0, scope + name)
    if (mutex !== 0) return mutex
    error = lastError()
    // It lives only as long as an engine uses it, so another user's is at work.
    if (error === ERROR.ERROR_ACCESS_DENIED && scope === 'Global\\') throw atWork(target)
  }
  throw goneOr(target, () => new HotpatchError('DEFECT', `process ${target.pid} cannot be locked: ${errorName(error)}`))
}

const atWork = ({ pid }: Target): HotpatchError =>
  new HotpatchError('ENGINE_AT_WORK', `another engine is at work on process ${pid}`, { facts: { pid } })
