import { win32 } from '../../os/windows/kernel32.ts'
import type { Handle } from '../../os/windows/library.ts'

/** When a process was created, in units of 100 ns since 1601; undefined: the system does not say (lastError). */
export function creationTime(process: Handle): bigint | undefined {
  const [creation, exit, kernel, user] = [Buffer.alloc(8), Buffer.alloc(8), Buffer.alloc(8), Buffer.alloc(8)]
  return win32.GetProcessTimes(process, creation, exit, kernel, user) ? creation.readBigUInt64LE(0) : undefined
}
