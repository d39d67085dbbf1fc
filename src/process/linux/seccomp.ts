/** Filters that a process put on its own system calls (seccomp(2)): a call that they forbid may kill it, so they are asked before. */
import { HotpatchError } from '../../errors.ts'
import type { SYS } from '../../os/linux/definitions.ts'
import { parseStatus, readProc } from './proc.ts'

/** Throws MAPPING_REFUSED when the process may not make one of `calls`, or when that cannot be known. */
export function refuseSeccomp(pid: number, calls: readonly (keyof typeof SYS)[]): void {
  const mode = parseStatus(readProc(`/proc/${pid}/status`) ?? '').get('Seccomp') ?? '0'
  if (mode === '0') return
  throw new HotpatchError('MAPPING_REFUSED', `process ${pid} runs under a seccomp filter, and ${calls.join(', ')} would be called in it`, {
    facts: { seccomp: mode, calls },
  })
}
