/** The signals that a stopped thread keeps from being handled. */
import { PTRACE } from '../../os/linux/definitions.ts'
import { libc, pinned } from '../../os/linux/libc.ts'

export const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn
const SIZE = 8
const buffer = pinned(SIZE)

export function readSignalMask(tid: number): bigint {
  libc.ptrace(PTRACE.GETSIGMASK, tid, SIZE, buffer.address)
  return buffer.view.getBigUint64(0, true)
}

export function writeSignalMask(tid: number, mask: bigint): void {
  buffer.view.setBigUint64(0, mask, true)
  libc.ptrace(PTRACE.SETSIGMASK, tid, SIZE, buffer.address)
}
