/**
 * The watchdog's program: `watchdog-program ENGINE-PID NAME-OF-THE-BOARD`. Waits for the engine's end, then resumes every thread that
 * the engine held suspended, once, and no other.
 */
import { FILE_MAP, PROCESS_RIGHTS, THREAD_RIGHTS } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { creationTime } from './creation-time.ts'
import { enableDebugPrivilege } from './open.ts'
import { BOARD_SIZE, MARK, StopBoard, type SuspendedThread } from './stop-board.ts'
import { suspendCount } from './threads.ts'

/** Its file. Whoever imports this only learns where it is. */
export const WATCHDOG_PROGRAM = import.meta.filename

const FOREVER = 0xffff_ffff

function main(enginePid: number, name: string): void {
  const engine = win32.OpenProcess(PROCESS_RIGHTS.SYNCHRONIZE, 0, enginePid)
  // Only the engine holds this memory: where it can still be opened, the process opened before is the engine.
  const mapping = win32.OpenFileMappingW(FILE_MAP.READ | FILE_MAP.WRITE, 0, name)
  if (engine === 0 || mapping === 0) return
  const address = BigInt(win32.MapViewOfFile(mapping, FILE_MAP.READ | FILE_MAP.WRITE, 0, 0, BOARD_SIZE))
  if (address === 0n) return
  const board = new StopBoard(address)
  enableDebugPrivilege()
  // All that is needed is looked up now, not when there is need.
  board.marked()
  board.setWatching(true)
  win32.WaitForSingleObject(engine, FOREVER)
  const marked = board.marked()
  if (marked.length === 0 || !isTarget(board)) return
  for (const thread of marked) resume(board.targetPid, thread)
}

function isTarget(board: StopBoard): boolean {
  const handle = win32.OpenProcess(PROCESS_RIGHTS.PROCESS_QUERY_LIMITED_INFORMATION, 0, board.targetPid)
  if (handle === 0) return false
  const created = creationTime(handle)
  win32.CloseHandle(handle)
  return created === board.targetCreated
}

/** A suspended thread does not end by itself, so its id is still its own. */
function resume(pid: number, { id, mark, baseline }: SuspendedThread): void {
  const thread = win32.OpenThread(THREAD_RIGHTS.THREAD_SUSPEND_RESUME | THREAD_RIGHTS.THREAD_QUERY_LIMITED_INFORMATION, 0, id)
  if (thread === 0) return
  if (win32.GetProcessIdOfThread(thread) === pid && (mark === MARK.held || (suspendCount(thread) ?? 0) > baseline))
    win32.ResumeThread(thread)
  win32.CloseHandle(thread)
}

/** @param args its own, from the process ID on */
export function runWatchdog([enginePid, name]: readonly string[]): void {
  if (enginePid !== undefined && name !== undefined) main(Number(enginePid), name)
}

if (process.argv[1] === WATCHDOG_PROGRAM) runWatchdog(process.argv.slice(2))
