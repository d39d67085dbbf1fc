/** Constants and structures of Windows, by their own names: winnt.h, tlhelp32.h, winbase.h, and phnt for the native ones. */
import { type Field, i32, struct, u16, u32, u64 } from '../../binary/struct.ts'

// winnt.h: rights.
export const PROCESS_RIGHTS = {
  PROCESS_CREATE_THREAD: 0x0002,
  PROCESS_VM_OPERATION: 0x0008,
  PROCESS_VM_READ: 0x0010,
  PROCESS_VM_WRITE: 0x0020,
  PROCESS_QUERY_INFORMATION: 0x0400,
  PROCESS_SUSPEND_RESUME: 0x0800,
  PROCESS_QUERY_LIMITED_INFORMATION: 0x1000,
  SYNCHRONIZE: 0x0010_0000,
} as const

export const THREAD_RIGHTS = {
  THREAD_SUSPEND_RESUME: 0x0002,
  THREAD_GET_CONTEXT: 0x0008,
  THREAD_QUERY_INFORMATION: 0x0040,
  THREAD_QUERY_LIMITED_INFORMATION: 0x0800,
  SYNCHRONIZE: 0x0010_0000,
} as const

export const TOKEN = { TOKEN_ADJUST_PRIVILEGES: 0x20, TOKEN_QUERY: 0x08, SE_PRIVILEGE_ENABLED: 2 } as const

// winnt.h: memory.
export const MEM = {
  COMMIT: 0x1000,
  RESERVE: 0x2000,
  RELEASE: 0x8000,
  FREE: 0x1_0000,
  PRIVATE: 0x2_0000,
  MAPPED: 0x4_0000,
  IMAGE: 0x100_0000,
} as const

export const PAGE = {
  NOACCESS: 0x01,
  READONLY: 0x02,
  READWRITE: 0x04,
  WRITECOPY: 0x08,
  EXECUTE: 0x10,
  EXECUTE_READ: 0x20,
  EXECUTE_READWRITE: 0x40,
  EXECUTE_WRITECOPY: 0x80,
  /** Modifier: the first touch raises, and takes the mark away. */
  GUARD: 0x100,
} as const

/** What each protection allows, without its modifiers. */
export const PAGE_ACCESS: Readonly<Record<number, { read: boolean; write: boolean; execute: boolean }>> = {
  [PAGE.NOACCESS]: { read: false, write: false, execute: false },
  [PAGE.READONLY]: { read: true, write: false, execute: false },
  [PAGE.READWRITE]: { read: true, write: true, execute: false },
  [PAGE.WRITECOPY]: { read: true, write: true, execute: false },
  [PAGE.EXECUTE]: { read: false, write: false, execute: true },
  [PAGE.EXECUTE_READ]: { read: true, write: false, execute: true },
  [PAGE.EXECUTE_READWRITE]: { read: true, write: true, execute: true },
  [PAGE.EXECUTE_WRITECOPY]: { read: true, write: true, execute: true },
}

export const MEMORY_BASIC_INFORMATION = struct('MEMORY_BASIC_INFORMATION', {
  BaseAddress: u64,
  AllocationBase: u64,
  AllocationProtect: u32,
  PartitionId: u16,
  reserved: u16,
  RegionSize: u64,
  State: u32,
  Protect: u32,
  Type: u32,
  reserved2: u32,
})

export const SYSTEM_INFO = struct('SYSTEM_INFO', {
  wProcessorArchitecture: u16,
  wReserved: u16,
  dwPageSize: u32,
  lpMinimumApplicationAddress: u64,
  lpMaximumApplicationAddress: u64,
  dwActiveProcessorMask: u64,
  dwNumberOfProcessors: u32,
  dwProcessorType: u32,
  dwAllocationGranularity: u32,
  wProcessorLevel: u16,
  wProcessorRevision: u16,
})

// winnt.h: machines.
export const IMAGE_FILE_MACHINE: Readonly<Record<number, string>> = {
  0: 'UNKNOWN',
  332: 'I386',
  452: 'ARMNT',
  34404: 'AMD64',
  43620: 'ARM64',
}

/** processthreadsapi.h: ProcessMachineTypeInfo, and its structure. */
export const ProcessMachineTypeInfo = 9
export const PROCESS_MACHINE_INFORMATION = struct('PROCESS_MACHINE_INFORMATION', { ProcessMachine: u16, Res0: u16, MachineAttributes: u32 })

// winnt.h: mitigations that forbid code from elsewhere. Bit 0 of each policy's flags is the first name given here.
export const MITIGATIONS = [
  { policy: 2, flag: 0x1, name: 'ProcessDynamicCodePolicy (ACG, ProhibitDynamicCode)' },
  { policy: 8, flag: 0x1, name: 'ProcessSignaturePolicy (CIG, MicrosoftSignedOnly)' },
  { policy: 8, flag: 0x2, name: 'ProcessSignaturePolicy (CIG, StoreSignedOnly)' },
] as const

/** memoryapi.h. */
export const FILE_MAP = { WRITE: 0x2, READ: 0x4 } as const

/** winternl.h, phnt. */
/** u32: how often it is suspended. Windows 8.1. */
export const ThreadSuspendCount = 35
export const ThreadBasicInformation = 0
export const THREAD_BASIC_INFORMATION = struct('THREAD_BASIC_INFORMATION', {
  ExitStatus: u32,
  reserved: u32,
  TebBaseAddress: u64,
  UniqueProcess: u64,
  UniqueThread: u64,
  AffinityMask: u64,
  Priority: i32,
  BasePriority: i32,
})

// phnt: protected processes.
export const ProcessProtectionInformation = 61
export const PS_PROTECTED_TYPE = ['None', 'ProtectedLight', 'Protected'] as const
export const PS_PROTECTED_SIGNER = [
  'None',
  'Authenticode',
  'CodeGen',
  'Antimalware',
  'Lsa',
  'Windows',
  'WinTcb',
  'WinSystem',
  'App',
] as const

/** winnt.h: the x64 CONTEXT's parts that are used; the rest is only room for what the call writes. Needs 16-byte alignment. */
export const CONTEXT_AMD64 = {
  size: 0x4d0,
  ContextFlags: 0x30,
  Rsp: 0x98,
  Rip: 0xf8,
  /** By DWARF's numbers: Rax, Rdx, Rcx, Rbx, Rsi, Rdi, Rbp, Rsp, R8 to R15, Rip. */
  DWARF: [0x78, 0x88, 0x80, 0x90, 0xa8, 0xb0, 0xa0, 0x98, 0xb8, 0xc0, 0xc8, 0xd0, 0xd8, 0xe0, 0xe8, 0xf0, 0xf8],
  CONTEXT_CONTROL: 0x10_0001,
  CONTEXT_INTEGER: 0x10_0002,
} as const

/** winnt.h: the ARM64 CONTEXT, likewise. */
export const CONTEXT_ARM64 = {
  size: 0x390,
  ContextFlags: 0x0,
  Rsp: 0x100,
  Rip: 0x108,
  /** By DWARF's numbers: X0 to X30, Sp; behind them Pc, as the Linux backend has it. */
  DWARF: Array.from({ length: 33 }, (_, number) => 0x8 + number * 8),
  CONTEXT_CONTROL: 0x40_0001,
  CONTEXT_INTEGER: 0x40_0002,
} as const

// tlhelp32.h
export const TH32CS = { SNAPPROCESS: 0x2, SNAPMODULE: 0x8, SNAPMODULE32: 0x10 } as const

/** `count` UTF-16 code units, ended by a zero. */
const wchars = (count: number): Field<string> => ({
  size: count * 2,
  read(view, at) {
    let text = ''
    for (let i = 0; i < count; i++) {
      const unit = view.getUint16(at + i * 2, true)
      if (unit === 0) break
      text += String.fromCharCode(unit)
    }
    return text
  },
  write(view, at, value) {
    for (let i = 0; i < count; i++) view.setUint16(at + i * 2, i < value.length ? value.charCodeAt(i) : 0, true)
  },
})

export const PROCESSENTRY32W = struct('PROCESSENTRY32W', {
  dwSize: u32,
  cntUsage: u32,
  th32ProcessID: u32,
  reserved: u32,
  th32DefaultHeapID: u64,
  th32ModuleID: u32,
  cntThreads: u32,
  th32ParentProcessID: u32,
  pcPriClassBase: u32,
  dwFlags: u32,
  szExeFile: wchars(260),
  reserved2: u32,
})

export const MODULEENTRY32W = struct('MODULEENTRY32W', {
  dwSize: u32,
  th32ModuleID: u32,
  th32ProcessID: u32,
  GlblcntUsage: u32,
  ProccntUsage: u32,
  reserved: u32,
  modBaseAddr: u64,
  modBaseSize: u32,
  reserved2: u32,
  hModule: u64,
  szModule: wchars(256),
  szExePath: wchars(260),
})

/** winnt.h TOKEN_PRIVILEGES with one entry. */
export const TOKEN_PRIVILEGES = struct('TOKEN_PRIVILEGES', { PrivilegeCount: u32, LuidLow: u32, LuidHigh: u32, Attributes: u32 })
