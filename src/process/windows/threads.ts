/** The threads of a process, each through a handle of its own. */
import { HotpatchError } from '../../errors.ts'
import { THREAD_BASIC_INFORMATION, THREAD_RIGHTS, ThreadBasicInformation, ThreadSuspendCount } from '../../os/windows/definitions.ts'
import { newerWin32, win32 } from '../../os/windows/kernel32.ts'
import { type Handle, wideString } from '../../os/windows/library.ts'
import { nt } from '../../os/windows/ntdll.ts'
import { STATUS, statusName } from '../../os/windows/status.ts'
import type { ThreadSummary } from '../contract.ts'
import { goneOr, type Target } from './target.ts'

export interface ThreadHandle {
  readonly id: number
  readonly handle: Handle
}

const TO_STOP =
  THREAD_RIGHTS.THREAD_SUSPEND_RESUME |
  THREAD_RIGHTS.THREAD_GET_CONTEXT |
  THREAD_RIGHTS.THREAD_QUERY_LIMITED_INFORMATION |
  THREAD_RIGHTS.SYNCHRONIZE
const TO_LOOK = THREAD_RIGHTS.THREAD_QUERY_LIMITED_INFORMATION | THREAD_RIGHTS.SYNCHRONIZE

/**
 * Threads in the order of their creation, those that have ended but are still held by someone included. `previous` is the
 * handle to go on behind; the caller closes every handle it gets. Throws PROCESS_GONE.
 */
export function* openThreads(target: Target, access: 'look' | 'stop', previous: Handle = 0): Generator<ThreadHandle, void, void> {
  const cell = new BigUint64Array(1)
  const bytes = new Uint8Array(cell.buffer)
  for (let from = previous; ; ) {
    const status = nt.NtGetNextThread(target.look, from, access === 'stop' ? TO_STOP : TO_LOOK, 0, 0, bytes)
    if (status === STATUS.STATUS_NO_MORE_ENTRIES) return
    if (status !== STATUS.STATUS_SUCCESS)
      throw goneOr(
        target,
        () =>
          new HotpatchError('PERMISSION_DENIED', `Windows does not give the threads of process ${target.pid}: ${statusName(status)}`, {
            facts: { pid: target.pid, status: statusName(status) },
          }),
      )
    const handle = Number(cell[0])
    from = handle
    yield { id: win32.GetThreadId(handle), handle }
  }
}

const WAIT_OBJECT_0 = 0

export const threadHasEnded = (thread: ThreadHandle): boolean => win32.WaitForSingleObject(thread.handle, 0) === WAIT_OBJECT_0

/**
 * Whether it has got as far as having a TEB, before its first instruction. In Wine a thread is listed before it exists, and when its
 * maker is suspended in that moment, asking for its context would wait forever. On Windows every listed thread has begun.
 */
export const threadHasBegun = ({ handle }: ThreadHandle): boolean => tebOf(handle) !== 0n

/** 0n: it has none yet. undefined: the system does not say. */
function tebOf(handle: Handle): bigint | undefined {
  const information = new Uint8Array(THREAD_BASIC_INFORMATION.size)
  const status = nt.NtQueryInformationThread(handle, ThreadBasicInformation, information, information.length, null)
  return status === STATUS.STATUS_SUCCESS ? THREAD_BASIC_INFORMATION.readAt(information, 0).TebBaseAddress : undefined
}

/** How often it is suspended; undefined: the system does not say, or it has ended. */
export function suspendCount(thread: Handle): number | undefined {
  const count = new Uint32Array(1)
  const status = nt.NtQueryInformationThread(thread, ThreadSuspendCount, new Uint8Array(count.buffer), 4, null)
  return status === STATUS.STATUS_SUCCESS ? count[0] : undefined
}

/** Throws PROCESS_GONE. */
export function threadsOf(target: Target): ThreadSummary[] {
  const threads: ThreadHandle[] = []
  try {
    for (const thread of openThreads(target, 'look')) threads.push(thread)
    return threads.filter((thread) => !threadHasEnded(thread)).map(({ id, handle }) => ({ id, name: nameOf(handle), teb: tebOf(handle) }))
  } finally {
    for (const { handle } of threads) win32.CloseHandle(handle)
  }
}

/** What SetThreadDescription gave it. */
function nameOf(handle: Handle): string {
  const cell = new BigUint64Array(1)
  const result = newerWin32.GetThreadDescription?.(handle, new Uint8Array(cell.buffer))
  const address = cell[0] ?? 0n
  if (result === undefined || result < 0 || address === 0n) return ''
  try {
    return wideString(address)
  } finally {
    win32.LocalFree(address)
  }
}
