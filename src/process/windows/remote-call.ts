/** Calling a function inside a process, on a thread that is made for it. No other thread is stopped. */

import { readPeFromMemory } from '../../binary/pe/reader.ts'
import { HotpatchError } from '../../errors.ts'
import { ARM64_REMOTE_CALL, assembleWords } from '../../machine/arm64/remote-call.ts'
import { REMOTE_CALL_BLOCK } from '../../machine/call-block.ts'
import { assemble, REMOTE_CALL } from '../../machine/x64/stubs.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { INVALID_HANDLE_VALUE } from '../../os/windows/library.ts'
import { errorName, lastError } from '../../os/windows/status.ts'
import { CALL_SIZE, mapCall, resultIn } from '../call-memory.ts'
import type { CallArgument } from '../contract.ts'
import { mapSegments, unmapSegments } from './mappings.ts'
import { readMemory } from './memory.ts'
import { modulesOf } from './modules.ts'
import { findPlace } from './places.ts'
import { goneOr, hex, type Target } from './target.ts'

const WAIT_OBJECT_0 = 0
/** A thread's start routine. */
const CODE = { x64: assemble(REMOTE_CALL), arm64: assembleWords(ARM64_REMOTE_CALL) } as const

/**
 * Calls `fn(...args)` in the target and gives what it returned. The stub and its block have a
 * mapping of their own, which stays if the call does not come back in `timeout` milliseconds: its thread may still use it.
 * Throws CALL_TIMEOUT, MAPPING_REFUSED, PROCESS_GONE.
 */
export function callRemote(target: Target, fn: bigint, args: readonly CallArgument[], timeout: number): bigint {
  const { code: stub, block: blockAddress } = mapCall(
    (request) => findPlace(target, request),
    (request) => mapSegments(target, request),
    CODE[target.machine],
    fn,
    args,
  )
  const thread = win32.CreateRemoteThread(target.change(), null, 0, stub, blockAddress, 0, null)
  if (thread === 0) {
    const error = lastError()
    unmapSegments(target, stub, CALL_SIZE)
    throw goneOr(target, () => new HotpatchError('MAPPING_REFUSED', `no thread can be made in process ${target.pid}: ${errorName(error)}`))
  }
  try {
    if (win32.WaitForSingleObject(thread, timeout) !== WAIT_OBJECT_0)
      throw new HotpatchError('CALL_TIMEOUT', `the call of ${hex(fn)} in process ${target.pid} did not return within ${timeout} ms`, {
        facts: { pid: target.pid, function: hex(fn), timeout },
      })
  } finally {
    win32.CloseHandle(thread)
  }
  const result = resultIn(readMemory(target, blockAddress, REMOTE_CALL_BLOCK.size))
  unmapSegments(target, stub, CALL_SIZE)
  if (result === undefined)
    throw goneOr(
      target,
      () => new HotpatchError('CALL_FAULTED', `the function at ${hex(fn)} of process ${target.pid} ended the thread that it was called on`),
    )
  return result
}

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
