/** What Windows' error numbers say, by name. */
import { win32 } from './kernel32.ts'

/** winerror.h. */
export const ERROR = {
  ERROR_ACCESS_DENIED: 5,
  ERROR_INVALID_HANDLE: 6,
  ERROR_NOT_ENOUGH_MEMORY: 8,
  ERROR_NO_MORE_FILES: 18,
  ERROR_BAD_LENGTH: 24,
  ERROR_INVALID_PARAMETER: 87,
  ERROR_INVALID_ADDRESS: 487,
  ERROR_PARTIAL_COPY: 299,
  ERROR_NOACCESS: 998,
  ERROR_NOT_ALL_ASSIGNED: 1300,
  ERROR_COMMITMENT_LIMIT: 1455,
  ERROR_DYNAMIC_CODE_BLOCKED: 1655,
} as const

/** ntstatus.h, as the signed numbers that calls return. */
export const STATUS = {
  STATUS_SUCCESS: 0,
  STATUS_NO_MORE_ENTRIES: 0x8000_001a | 0,
  STATUS_PARTIAL_COPY: 0x8000_000d | 0,
  STATUS_ACCESS_VIOLATION: 0xc000_0005 | 0,
  STATUS_INVALID_HANDLE: 0xc000_0008 | 0,
  STATUS_ACCESS_DENIED: 0xc000_0022 | 0,
  STATUS_PROCESS_IS_TERMINATING: 0xc000_010a | 0,
  STATUS_DYNAMIC_CODE_BLOCKED: 0xc000_0604 | 0,
} as const

const nameIn = (table: Readonly<Record<string, number>>, code: number): string | undefined =>
  Object.entries(table).find(([, value]) => value === code)?.[0]

/** GetLastError() of the call just made. */
export const lastError = (): number => win32.GetLastError()

export const errorName = (code: number): string => nameIn(ERROR, code) ?? `Windows error ${code}`

export const statusName = (status: number): string => nameIn(STATUS, status) ?? `NTSTATUS 0x${(status >>> 0).toString(16)}`
