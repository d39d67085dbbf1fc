/** Calling a function inside a process, on a thread that is made for it. No other thread is stopped. */

import { readPeFromMemory } from '../../binary/pe/reader.ts'
import { HotpatchError } from '../../errors.ts'
import { ARM64_REMOTE_CALL, assembleWords } from '../../machine/arm64/remote-call.ts'
import { assemble, REMOTE_CALL } from '../../machine/x64/stubs.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { INVALID_HANDLE_VALUE } from '../../os/windows/library.ts'
import { errorName, lastError } from '../../os/windows/status.ts'
import { type CallMemory, withCalls } from '../call-memory.ts'
import type { CallInside, MapRequest } from '../contract.ts'
import type { PlaceRequest } from '../place.ts'
import { mapSegments, unmapSegments } from './mappings.ts'
import { readMemory, storeBytes } from './memory.ts'
import { modulesOf } from './modules.ts'
import { findPlace } from './places.ts'
import { goneOr, hex, type Target } from './target.ts'

const WAIT_OBJECT_0 = 0
/** A thread's start routine. */
const CODE = { x64: assemble(REMOTE_CALL), arm64: assembleWords(ARM64_REMOTE_CALL) } as const

/**
 * `Process.calls`. The stub and its block have a mapping of their own, which stays if a call does not come back in time: its thread may still use it.
 * Throws CALL_TIMEOUT, CALL_FAULTED, MAPPING_REFUSED, PROCESS_GONE.
 */
export function callsInside<T>(target: Target, action: (call: CallInside) => T): T {
  const host = {
    code: CODE[target.machine],
    findPlace: (request: PlaceRequest) => findPlace(target, request),
    map: (request: MapRequest) => mapSegments(target, request),
    unmap: (address: bigint, size: number) => unmapSegments(target, address, size),
    read: (address: bigint, length: number) => readMemory(target, address, length),
    write: (address: bigint, bytes: Uint8Array) => storeBytes(target, address, bytes),
  }
  return withCalls(host, (memory) => callOn(target, memory), action)
}

/** `Process.call`. */
export const callRemote = (target: Target, ...wanted: Parameters<CallInside>): bigint => callsInside(target, (call) => call(...wanted))

const callOn =
  (target: Target, memory: CallMemory): CallInside =>
  (fn, args, { deadlineMs }) => {
    const prepared = memory.prepare(fn, args)
    const thread = win32.CreateRemoteThread(target.change(), null, 0, prepared.code, prepared.block, 0, null)
    if (thread === 0) throw noThread(target, lastError())
    try {
      if (win32.WaitForSingleObject(thread, deadlineMs) !== WAIT_OBJECT_0) {
        memory.leave()
        throw new HotpatchError('CALL_TIMEOUT', `the call of ${hex(fn)} in process ${target.pid} did not return within ${deadlineMs} ms`, {
          facts: { pid: target.pid, function: hex(fn), timeout: deadlineMs },
        })
      }
    } finally {
      win32.CloseHandle(thread)
    }
    const result = memory.result(prepared)
    if (result !== undefined) return result
    const what = `the function at ${hex(fn)} of process ${target.pid} ended the thread that it was called on`
    throw goneOr(target, () => new HotpatchError('CALL_FAULTED', what))
  }

const noThread = (target: Target, error: number): HotpatchError =>
  goneOr(target, () => new HotpatchError('MAPPING_REFUSED', `no thread can be made in process ${target.pid}: ${errorName(error)}`))

/**
 * Where a function of ntdll lies in the target: as far from its ntdll as here from ours, provided that both are the same build.
 * Throws PROCESS_UNSUPPORTED.
 */
export function ntdllFunction(target: Target, name: string): bigint {
  const own = BigInt(win32.GetModuleHandleW('ntdll.dll'))
  const address = BigInt(win32.GetProcAddress(own, name))
  const theirs = modulesOf(target).find((module) => module.name.toLowerCase() === 'ntdll.dll')
  const self = { ...target, pid: win32.GetCurrentProcessId(), look: INVALID_HANDLE_VALUE }
  if (address === 0n || theirs === undefined || buildOf(target, theirs.base) !== buildOf(self, own))
    throw new HotpatchError('PROCESS_UNSUPPORTED', `process ${target.pid} has another ntdll than hotpatch: ${name} is not known in it`)
  return theirs.base + (address - own)
}

/** What tells builds of a mapped image apart. */
function buildOf(target: Target, base: bigint): string {
  const { fileHeader, optionalHeader } = readPeFromMemory((rva, length) => readMemory(target, base + BigInt(rva), length))
  return `${fileHeader.TimeDateStamp} ${optionalHeader.SizeOfImage} ${optionalHeader.CheckSum}`
}
