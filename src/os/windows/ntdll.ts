/** ntdll.dll: what kernel32 does not offer, or not without doing more. Names as in the phnt headers. */
import { ADDRESS, BUFFER, DWORD, declare, HANDLE, type Handle, library, type Memory, NTSTATUS, SIZE_T } from './library.ts'

const ntdll = library(
  'ntdll.dll',
  {
    /**
     * The next thread of a process in the order of creation, opened with `access`; `previous` 0 for the first. Unlike a
     * snapshot it looks at one process only.
     */
    NtGetNextThread: declare<
      (process: Handle, previous: Handle, access: number, attributes: number, flags: number, next: Memory) => number
    >(NTSTATUS, [HANDLE, HANDLE, DWORD, DWORD, DWORD, BUFFER]),
    /** WriteProcessMemory without its own look at the protection. */
    NtWriteVirtualMemory: declare<(process: Handle, address: bigint, buffer: Memory, size: number, written: Memory) => number>(NTSTATUS, [
      HANDLE,
      ADDRESS,
      BUFFER,
      SIZE_T,
      BUFFER,
    ]),
    NtQueryInformationProcess: declare<(process: Handle, kind: number, information: Memory, length: number, needed: Memory) => number>(
      NTSTATUS,
      [HANDLE, 'int32_t', BUFFER, DWORD, BUFFER],
    ),
    NtQueryInformationThread: declare<(thread: Handle, kind: number, information: Memory, length: number, needed: Memory) => number>(
      NTSTATUS,
      [HANDLE, 'int32_t', BUFFER, DWORD, BUFFER],
    ),
  },
  {},
)

export const nt = ntdll.calls
