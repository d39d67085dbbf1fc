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
      // Of a zombie nothing is left, unless only its main thread has ended.
      const isLeft = stat?.state !== 'Z' || numbersIn(`/proc/${pid}/task`).length > 1
      if (stat !== undefined && stat.state !== 'X' && isLeft) summaries.push({ pid, name: stat.name })
    }
    return summaries
  },
  open: (pid) => new LinuxProcess(pid),
}
