/**
 * Opening a process with just the rights that are needed, and saying exactly what denies them: the owner, a missing
 * privilege, or a protected process.
 */
import { HotpatchError } from '../../errors.ts'
import { security } from '../../os/windows/advapi32.ts'
import {
  IMAGE_FILE_MACHINE,
  PROCESS_MACHINE_INFORMATION,
  PROCESS_RIGHTS,
  ProcessMachineTypeInfo,
  ProcessProtectionInformation,
  PS_PROTECTED_SIGNER,
  PS_PROTECTED_TYPE,
  TOKEN,
  TOKEN_PRIVILEGES,
} from '../../os/windows/definitions.ts'
import { newerWin32, win32 } from '../../os/windows/kernel32.ts'
import { type Handle, INVALID_HANDLE_VALUE } from '../../os/windows/library.ts'
import { nt } from '../../os/windows/ntdll.ts'
import { ERROR, errorName, lastError } from '../../os/windows/status.ts'

type Right = keyof typeof PROCESS_RIGHTS

/** For reading, its modules, its memory map, and to learn of its end. */
export const LOOK: readonly Right[] = ['PROCESS_QUERY_INFORMATION', 'PROCESS_VM_READ', 'SYNCHRONIZE']
/** For writing, mapping, and a thread of our own. Threads are opened one by one, with rights of their own. */
export const CHANGE: readonly Right[] = [...LOOK, 'PROCESS_VM_WRITE', 'PROCESS_VM_OPERATION', 'PROCESS_CREATE_THREAD']

/** The idle process and the kernel's own: no user memory. */
export const SYSTEM_PIDS = [0, 4]

/** Throws PROCESS_GONE, PERMISSION_DENIED, PROCESS_UNSUPPORTED. The handle is the caller's to close. */
export function openProcess(pid: number, rights: readonly Right[]): Handle {
  if (SYSTEM_PIDS.includes(pid)) throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} belongs to the kernel`)
  const privilege = enableDebugPrivilege()
  const access = rights.reduce((sum, right) => sum | PROCESS_RIGHTS[right], 0)
  const handle = win32.OpenProcess(access, 0, pid)
  if (handle !== 0) return handle
  const error = lastError()
  if (error === ERROR.ERROR_INVALID_PARAMETER) throw new HotpatchError('PROCESS_GONE', `there is no process ${pid}`)
  if (error !== ERROR.ERROR_ACCESS_DENIED)
    throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} cannot be opened: ${errorName(error)}`)
  const protection = protectionOf(pid)
  if (protection !== undefined)
    throw new HotpatchError('PERMISSION_DENIED', `process ${pid} is protected by Windows (${protection}): nobody may open it for changes`, {
      facts: { pid, protection },
    })
  throw new HotpatchError(
    'PERMISSION_DENIED',
    `process ${pid} may not be opened with ${rights.join(', ')}: it belongs to another user and SeDebugPrivilege is ${privilege}`,
    { facts: { pid, rights, SeDebugPrivilege: privilege } },
  )
}

/** "ProtectedLight, signer Lsa"; undefined for a process that is not protected or does not say. */
export function protectionOf(pid: number): string | undefined {
  const handle = win32.OpenProcess(PROCESS_RIGHTS.PROCESS_QUERY_LIMITED_INFORMATION, 0, pid)
  if (handle === 0) return undefined
  try {
    const level = Buffer.alloc(1)
    if (nt.NtQueryInformationProcess(handle, ProcessProtectionInformation, level, level.length, null) !== 0) return undefined
    return describeProtection(level.readUInt8(0))
  } finally {
    win32.CloseHandle(handle)
  }
}

/** PS_PROTECTION in words: bits 0 to 2 the type, bit 3 audit, bits 4 to 7 the signer. */
export function describeProtection(level: number): string | undefined {
  const type = level & 7
  if (type === 0) return undefined
  return `${PS_PROTECTED_TYPE[type] ?? `type ${type}`}, signer ${PS_PROTECTED_SIGNER[level >> 4] ?? level >> 4}`
}

type Privilege = 'enabled' | 'not held'
let debugPrivilege: Privilege | undefined

/** Administrators hold SeDebugPrivilege, disabled: with it, other users' processes can be opened. Asked for once. */
export function enableDebugPrivilege(): Privilege {
  debugPrivilege ??= tryDebugPrivilege()
  return debugPrivilege
}

function tryDebugPrivilege(): Privilege {
  const tokenCell = Buffer.alloc(8)
  if (!security.OpenProcessToken(INVALID_HANDLE_VALUE, TOKEN.TOKEN_ADJUST_PRIVILEGES | TOKEN.TOKEN_QUERY, tokenCell)) return 'not held'
  const token = Number(tokenCell.readBigUInt64LE(0))
  try {
    const luid = Buffer.alloc(8)
    if (!security.LookupPrivilegeValueW(null, 'SeDebugPrivilege', luid)) return 'not held'
    const wanted = TOKEN_PRIVILEGES.encode({
      PrivilegeCount: 1,
      LuidLow: luid.readUInt32LE(0),
      LuidHigh: luid.readUInt32LE(4),
      Attributes: TOKEN.SE_PRIVILEGE_ENABLED,
    })
    // Succeeds even where the privilege is not held: then only the last error says so.
    if (!security.AdjustTokenPrivileges(token, 0, wanted, 0, null, null)) return 'not held'
    return lastError() === ERROR.ERROR_NOT_ALL_ASSIGNED ? 'not held' : 'enabled'
  } finally {
    win32.CloseHandle(token)
  }
}

/** Throws PROCESS_UNSUPPORTED for a process that runs code of another processor than Windows itself. */
export function machineOf(handle: Handle, pid: number): 'x64' | 'arm64' {
  const [emulated, native] = [Buffer.alloc(2), Buffer.alloc(2)]
  if (!win32.IsWow64Process2(handle, emulated, native))
    throw new HotpatchError('PROCESS_UNSUPPORTED', `the machine of process ${pid} cannot be learned: ${errorName(lastError())}`)
  const machine = (code: number): string => IMAGE_FILE_MACHINE[code] ?? `machine ${hexWord(code)}`
  const host = native.readUInt16LE(0)
  // WOW64 covers 32-bit programs. x64 programs on ARM64 are no WOW64 processes: Windows 11 names them.
  const wow64 = emulated.readUInt16LE(0)
  const running = wow64 !== 0 ? wow64 : (processMachine(handle) ?? host)
  if (running !== host)
    throw new HotpatchError(
      'PROCESS_UNSUPPORTED',
      `process ${pid} runs ${machine(running)} code on ${machine(host)}: emulated processes are not patched`,
    )
  if (machine(host) === 'AMD64') return 'x64'
  if (machine(host) === 'ARM64') return 'arm64'
  throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${pid} runs ${machine(host)} code`)
}

const hexWord = (code: number): string => `0x${code.toString(16)}`

function processMachine(handle: Handle): number | undefined {
  const ask = newerWin32.GetProcessInformation
  const information = new Uint8Array(PROCESS_MACHINE_INFORMATION.size)
  if (ask === undefined || !ask(handle, ProcessMachineTypeInfo, information, information.length)) return undefined
  return PROCESS_MACHINE_INFORMATION.readAt(information, 0).ProcessMachine
}
