/** advapi32.dll: the privileges of this process. */
import { BOOL, BUFFER, DWORD, declare, HANDLE, type Handle, library, type Memory, WSTR } from './library.ts'

const advapi32 = library(
  'advapi32.dll',
  {
    OpenProcessToken: declare<(process: bigint, access: number, token: Memory) => number>(BOOL, [HANDLE, DWORD, BUFFER]),
    LookupPrivilegeValueW: declare<(system: string | null, name: string, luid: Memory) => number>(BOOL, [WSTR, WSTR, BUFFER]),
    AdjustTokenPrivileges: declare<
      (token: Handle, disableAll: number, newState: Memory, length: number, previous: Memory, needed: Memory) => number
    >(BOOL, [HANDLE, BOOL, BUFFER, DWORD, BUFFER, BUFFER]),
  },
  {},
)

export const security = advapi32.calls
