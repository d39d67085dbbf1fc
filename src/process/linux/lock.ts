/**
 * One engine at a time, by flock(2) on the folder /proc/PID. The kernel takes the lock back with the file descriptor, however the
 * engine ends; and while the folder is open, everybody who opens it opens the same one. Another mount of /proc (a container's own) has
 * other folders: an engine inside a container and one outside do not see each other.
 */
import { closeSync, openSync } from 'node:fs'
import { HotpatchError } from '../../errors.ts'
import { ERRNO, LOCK } from '../../os/linux/definitions.ts'
import { errno, errnoName, libc } from '../../os/linux/libc.ts'
import { once } from '../once.ts'
import { parseStat, parseStatus, readProc } from './proc.ts'

/** `Process.lock`. */
export function lockProcess(pid: number, incarnation: string): () => void {
  const gone = () => new HotpatchError('PROCESS_GONE', `process ${pid} has ended`)
  const fd = openFolder(pid, gone)
  if (libc.flock(fd, LOCK.EX | LOCK.NB) !== 0) {
    const reason = errno()
    closeSync(fd)
    if (reason === ERRNO.EAGAIN)
      throw new HotpatchError('ENGINE_AT_WORK', `another engine is at work on process ${pid}`, { facts: { pid } })
    throw new HotpatchError('DEFECT', `process ${pid} cannot be locked (${errnoName(reason)})`)
  }
  // The number may belong to another process by now.
  if (hasEnded(pid, incarnation)) {
    closeSync(fd)
    throw gone()
  }
  return once(() => closeSync(fd))
}

function openFolder(pid: number, gone: () => HotpatchError): number {
  try {
    return openSync(`/proc/${pid}`, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw gone()
    throw error
  }
}

/** A main thread that has ended before the others is a zombie as well. */
function hasEnded(pid: number, incarnation: string): boolean {
  const stat = parseStat(readProc(`/proc/${pid}/stat`) ?? '')
  if (stat === undefined || stat.startTime !== incarnation || stat.state === 'X') return true
  return stat.state === 'Z' && Number(parseStatus(readProc(`/proc/${pid}/status`) ?? '').get('Threads') ?? 1) <= 1
}
