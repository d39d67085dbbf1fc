/**
 * Windows does not let a process go when the one that suspended its threads dies. So an engine that is about to suspend any has a
 * second process at its side, the watchdog (watchdog-program.ts): it waits for the engine's end and resumes what the engine held.
 * One serves all targets of an engine. It must not end with the engine, so it belongs to no job of it.
 */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { HotpatchError } from '../../errors.ts'
import { persistently } from '../../os/persistently.ts'
import { FILE_MAP, PAGE, PROCESS_RIGHTS } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { type Handle, INVALID_HANDLE_VALUE } from '../../os/windows/library.ts'
import { errorName, lastError } from '../../os/windows/status.ts'
import { BOARD_SIZE, StopBoard } from './stop-board.ts'
import { WATCHDOG_PROGRAM } from './watchdog-program.ts'

/** Milliseconds for it to come up: a start of Node.js on a machine that has much to do, or whose processor is emulated. */
const START_MS = 180_000
const WAIT_OBJECT_0 = 0

interface Watchdog {
  readonly board: StopBoard
  readonly process: Handle
}

let running: Watchdog | undefined

/** Starts it without waiting until it watches. Throws STOP_UNGUARDED. */
export function startWatchdog(): void {
  if (running !== undefined && !hasEnded(running.process)) return
  running = undefined
  const name = `Local\\hotpatch-watch-${randomUUID()}`
  const mapping = win32.CreateFileMappingW(INVALID_HANDLE_VALUE, null, PAGE.READWRITE, 0, BOARD_SIZE, name)
  const address = mapping === 0 ? 0n : BigInt(win32.MapViewOfFile(mapping, FILE_MAP.READ | FILE_MAP.WRITE, 0, 0, BOARD_SIZE))
  // The handle stays open, so the name stands for this memory as long as this engine lives, and no longer.
  if (address === 0n) throw unguarded(`memory to share with it: ${errorName(lastError())}`)
  const pid = startProgram(name)
  const handle = pid === undefined ? 0 : win32.OpenProcess(PROCESS_RIGHTS.SYNCHRONIZE, 0, pid)
  if (handle === 0) throw unguarded(`${process.execPath} could not be started`)
  running = { board: new StopBoard(address), process: handle }
}

/** Its pid; undefined: it could not be started. */
function startProgram(board: string): number | undefined {
  const arguments_ = [...process.execArgv, WATCHDOG_PROGRAM, `${process.pid}`, board]
  // Not detached, a child of libuv's is in a job that ends with us.
  const options = { detached: true, stdio: 'ignore', windowsHide: true } as const
  try {
    const child = persistently(() => spawn(process.execPath, arguments_, options))
    child.on('error', () => {})
    child.unref()
    return child.pid
  } catch {
    return undefined
  }
}

/** The board that it watches. Starts it where it does not run, and waits until it does. Throws STOP_UNGUARDED. */
export function watchedBoard(): StopBoard {
  startWatchdog()
  const { board, process: handle } = running as Watchdog
  for (const end = performance.now() + START_MS; !board.watching; win32.Sleep(1)) {
    if (hasEnded(handle)) throw unguarded('it ended before it began to watch')
    if (performance.now() > end) throw unguarded(`it did not come up within ${START_MS} ms`)
  }
  return board
}

const hasEnded = (handle: Handle): boolean => win32.WaitForSingleObject(handle, 0) === WAIT_OBJECT_0

const unguarded = (why: string): HotpatchError =>
  new HotpatchError('STOP_UNGUARDED', `no watchdog stands by to resume the process should hotpatch be killed: ${why}`)
