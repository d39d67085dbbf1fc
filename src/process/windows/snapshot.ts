/** Toolhelp snapshots: lists of processes and modules as they were at one moment. */
import type { Of, Struct } from '../../binary/struct.ts'
import { MODULEENTRY32W, PROCESSENTRY32W, TH32CS } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { type Handle, INVALID_HANDLE_VALUE } from '../../os/windows/library.ts'
import { ERROR, lastError } from '../../os/windows/status.ts'

type Step = (snapshot: Handle, entry: Uint8Array) => number

/** Of a process that is starting, or while a module is loaded, the snapshot fails with ERROR_BAD_LENGTH: again, as documented. */
const ATTEMPTS = 100

function* entries<T extends { dwSize: number }>(
  flags: number,
  pid: number,
  table: Struct<T>,
  first: Step,
  next: Step,
): Generator<T, void, void> {
  let opened: number | bigint = INVALID_HANDLE_VALUE
  for (let attempt = 0; BigInt(opened) === INVALID_HANDLE_VALUE; attempt++) {
    opened = win32.CreateToolhelp32Snapshot(flags, pid)
    if (BigInt(opened) === INVALID_HANDLE_VALUE && (lastError() !== ERROR.ERROR_BAD_LENGTH || attempt >= ATTEMPTS)) return
  }
  const snapshot = Number(opened)
  try {
    const entry = new Uint8Array(table.size)
    new DataView(entry.buffer).setUint32(table.offsets.dwSize, table.size, true)
    for (let step = first; step(snapshot, entry) !== 0; step = next) yield table.readAt(entry, 0)
  } finally {
    win32.CloseHandle(snapshot)
  }
}

export const processEntries = (): Of<typeof PROCESSENTRY32W>[] => [
  ...entries(TH32CS.SNAPPROCESS, 0, PROCESSENTRY32W, win32.Process32FirstW, win32.Process32NextW),
]

/** Empty when the process has ended, or has not got as far as loading modules. */
export const moduleEntries = (pid: number): Of<typeof MODULEENTRY32W>[] => [
  ...entries(TH32CS.SNAPMODULE | TH32CS.SNAPMODULE32, pid, MODULEENTRY32W, win32.Module32FirstW, win32.Module32NextW),
]
