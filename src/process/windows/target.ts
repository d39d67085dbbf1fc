/** What every part of the Windows backend knows about the process that it works on. */

import { HotpatchError } from '../../errors.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Handle } from '../../os/windows/library.ts'

export interface Target {
  readonly pid: number
  readonly name: string
  readonly machine: 'x64' | 'arm64'
  /** In units of 100 ns since 1601. */
  readonly created: bigint
  /** Allows queries and reading. */
  readonly look: Handle
  /** Allows everything else; opened at the first change. Throws PERMISSION_DENIED. */
  change(): Handle
}

/** The smallest unit of protection, and the unit in which places in an address space are given out. */
export const PAGE_SIZE = 0x1000
export const ALLOCATION_GRANULARITY = 0x1_0000n

const WAIT_OBJECT_0 = 0

/** Whether the process has ended: its memory may be gone although the handle still opens. */
export const hasEnded = (target: Target): boolean => win32.WaitForSingleObject(target.look, 0) === WAIT_OBJECT_0

/** The error that `otherwise` makes, unless the reason is that the process has ended. */
export const goneOr = (target: Target, otherwise: () => HotpatchError): HotpatchError =>
  hasEnded(target) ? new HotpatchError('PROCESS_GONE', `process ${target.pid} (${target.name}) has ended`) : otherwise()

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`
