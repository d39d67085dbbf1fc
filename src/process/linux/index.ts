/** Live processes on Linux, through ptrace and /proc. */
import type { Backend } from '../contract.ts'
import { numbersIn, parseStat, readProc } from './proc.ts'
import { LinuxProcess } from './process.ts'

export const linuxBackend: Backend = {
  system: 'linux',
  list() {
    const summaries = []
    for (const pid of numbersIn('/proc')) {
      const stat = parseStat(readProc(`/proc/${pid}/stat`) ?? '')
      if (stat !== undefined && stat.state !== 'Z' && stat.state !== 'X') summaries.push({ pid, name: stat.name })
    }
    return summaries
  },
  open: (pid) => new LinuxProcess(pid),
}
