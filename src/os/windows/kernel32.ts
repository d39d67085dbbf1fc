/** kernel32.dll: processes, their memory, threads, snapshots. Names, parameters and order as in the Windows SDK. */
import { ADDRESS, BOOL, BUFFER, DWORD, declare, HANDLE, type Handle, library, type Memory, SIZE_T, WSTR } from './library.ts'

type YesNo = number
type Wide = number | bigint

const kernel32 = library(
  'kernel32.dll',
  {
    GetLastError: declare<() => number>(DWORD, []),
    CloseHandle: declare<(handle: Handle) => YesNo>(BOOL, [HANDLE]),
    GetCurrentProcessId: declare<() => number>(DWORD, []),
    GetModuleHandleW: declare<(name: string) => Wide>(HANDLE, [WSTR]),
    GetProcAddress: declare<(module: bigint, name: string) => Wide>(ADDRESS, [HANDLE, 'str']),
    LocalFree: declare<(memory: Wide) => Wide>(HANDLE, [HANDLE]),
    GetSystemInfo: declare<(info: Memory) => void>('void', [BUFFER]),
    QueryDosDeviceW: declare<(device: string, target: Memory, length: number) => number>(DWORD, [WSTR, BUFFER, DWORD]),

    OpenProcess: declare<(access: number, inherit: YesNo, pid: number) => Handle>(HANDLE, [DWORD, BOOL, DWORD]),
    GetProcessTimes: declare<(process: Handle, creation: Memory, exit: Memory, kernel: Memory, user: Memory) => YesNo>(BOOL, [
      HANDLE,
      BUFFER,
      BUFFER,
      BUFFER,
      BUFFER,
    ]),
    IsWow64Process2: declare<(process: Handle, processMachine: Memory, nativeMachine: Memory) => YesNo>(BOOL, [HANDLE, BUFFER, BUFFER]),
    QueryFullProcessImageNameW: declare<(process: Handle, flags: number, name: Memory, length: Memory) => YesNo>(BOOL, [
      HANDLE,
      DWORD,
      BUFFER,
      BUFFER,
    ]),
    CreateMutexW: declare<(attributes: Memory, owned: YesNo, name: string) => Handle>(HANDLE, [BUFFER, BOOL, WSTR]),
    ReleaseMutex: declare<(mutex: Handle) => YesNo>(BOOL, [HANDLE]),
    CreateFileMappingW: declare<
      (file: Handle, attributes: Memory, protection: number, sizeHigh: number, sizeLow: number, name: string) => Handle
    >(HANDLE, [HANDLE, BUFFER, DWORD, DWORD, DWORD, WSTR]),
    OpenFileMappingW: declare<(access: number, inherit: YesNo, name: string) => Handle>(HANDLE, [DWORD, BOOL, WSTR]),
    MapViewOfFile: declare<(mapping: Handle, access: number, offsetHigh: number, offsetLow: number, size: number) => Wide>(ADDRESS, [
      HANDLE,
      DWORD,
      DWORD,
      DWORD,
      SIZE_T,
    ]),
    WaitForSingleObject: declare<(handle: Handle, milliseconds: number) => number>(DWORD, [HANDLE, DWORD]),

    ReadProcessMemory: declare<(process: Handle, address: bigint, buffer: Memory, size: number, read: Memory) => YesNo>(BOOL, [
      HANDLE,
      ADDRESS,
      BUFFER,
      SIZE_T,
      BUFFER,
    ]),
    VirtualQueryEx: declare<(process: Handle, address: bigint, information: Memory, length: number) => number>(SIZE_T, [
      HANDLE,
      ADDRESS,
      BUFFER,
      SIZE_T,
    ]),
    VirtualProtectEx: declare<(process: Handle, address: bigint, size: number, protection: number, old: Memory) => YesNo>(BOOL, [
      HANDLE,
      ADDRESS,
      SIZE_T,
      DWORD,
      BUFFER,
    ]),
    VirtualAllocEx: declare<(process: Handle, address: bigint, size: number, type: number, protection: number) => Wide>(ADDRESS, [
      HANDLE,
      ADDRESS,
      SIZE_T,
      DWORD,
      DWORD,
    ]),
    VirtualFreeEx: declare<(process: Handle, address: bigint, size: number, type: number) => YesNo>(BOOL, [HANDLE, ADDRESS, SIZE_T, DWORD]),
    FlushInstructionCache: declare<(process: Handle, address: bigint, size: number) => YesNo>(BOOL, [HANDLE, ADDRESS, SIZE_T]),
    K32GetMappedFileNameW: declare<(process: Handle, address: bigint, name: Memory, length: number) => number>(DWORD, [
      HANDLE,
      ADDRESS,
      BUFFER,
      DWORD,
    ]),

    Sleep: declare<(milliseconds: number) => void>('void', [DWORD]),
    SuspendThread: declare<(thread: Handle) => number>(DWORD, [HANDLE]),
    ResumeThread: declare<(thread: Handle) => number>(DWORD, [HANDLE]),
    GetThreadContext: declare<(thread: Handle, context: Memory) => YesNo>(BOOL, [HANDLE, BUFFER]),
    OpenThread: declare<(access: number, inherit: YesNo, id: number) => Handle>(HANDLE, [DWORD, BOOL, DWORD]),
    GetProcessIdOfThread: declare<(thread: Handle) => number>(DWORD, [HANDLE]),
    GetThreadId: declare<(thread: Handle) => number>(DWORD, [HANDLE]),
    GetExitCodeThread: declare<(thread: Handle, code: Memory) => YesNo>(BOOL, [HANDLE, BUFFER]),
    CreateRemoteThread: declare<
      (
        process: Handle,
        attributes: Memory,
        stackSize: number,
        start: bigint,
        parameter: bigint,
        creationFlags: number,
        threadId: Memory,
      ) => Handle
    >(HANDLE, [HANDLE, BUFFER, SIZE_T, ADDRESS, ADDRESS, DWORD, BUFFER]),

    CreateToolhelp32Snapshot: declare<(flags: number, pid: number) => Wide>(HANDLE, [DWORD, DWORD]),
    Process32FirstW: declare<(snapshot: Handle, entry: Memory) => YesNo>(BOOL, [HANDLE, BUFFER]),
    Process32NextW: declare<(snapshot: Handle, entry: Memory) => YesNo>(BOOL, [HANDLE, BUFFER]),
    Module32FirstW: declare<(snapshot: Handle, entry: Memory) => YesNo>(BOOL, [HANDLE, BUFFER]),
    Module32NextW: declare<(snapshot: Handle, entry: Memory) => YesNo>(BOOL, [HANDLE, BUFFER]),
  },
  {
    /** Windows 10 1607. */
    GetThreadDescription: declare<(thread: Handle, description: Memory) => number>('int32_t', [HANDLE, BUFFER]),
    /** Windows 8. */
    GetProcessMitigationPolicy: declare<(process: Handle, policy: number, buffer: Memory, length: number) => YesNo>(BOOL, [
      HANDLE,
      'int32_t',
      BUFFER,
      SIZE_T,
    ]),
    /** Windows 8; ProcessMachineTypeInfo from Windows 11. */
    GetProcessInformation: declare<(process: Handle, kind: number, information: Memory, length: number) => YesNo>(BOOL, [
      HANDLE,
      'int32_t',
      BUFFER,
      DWORD,
    ]),
  },
)

export const win32 = kernel32.calls
export const newerWin32 = kernel32.newer
