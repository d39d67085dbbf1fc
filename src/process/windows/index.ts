/** Live processes on Windows, through Win32 and the native calls. */
import type { Backend } from '../contract.ts'
import { SYSTEM_PIDS } from './open.ts'
import { WindowsProcess } from './process.ts'
import { processEntries } from './snapshot.ts'

export const windowsBackend: Backend = {
  system: 'windows',
  list: () =>
    processEntries()
      // A process that has ended is listed, without threads, as long as someone holds a handle to it.
      .filter(({ th32ProcessID, cntThreads }) => cntThreads > 0 && !SYSTEM_PIDS.includes(th32ProcessID))
      .map(({ th32ProcessID, szExeFile }) => ({ pid: th32ProcessID, name: szExeFile })),
  open: (pid) => new WindowsProcess(pid),
}
