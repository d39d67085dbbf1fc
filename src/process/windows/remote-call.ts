/** Calling a function inside a process, on a thread that is made for it. No other thread is stopped. */

import { readPeFromMemory } from '../../binary/pe/reader.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { assemble, encodeRemoteCallBlock, REMOTE_CALL, REMOTE_CALL_BLOCK } from '../../machine/x64/stubs.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import { INVALID_HANDLE_VALUE } from '../../os/windows/library.ts'
import { errorName, lastError } from '../../os/windows/status.ts'
import { mapSegments, unmapSegments } from './mappings.ts'
import { readMemory } from './memory.ts'
import { modulesOf } from './modules.ts'
import { findPlace } from './places.ts'
import { goneOr, hex, PAGE_SIZE, type Target } from './target.ts'

const WAIT_OBJECT_0 = 0
const NAME = 'hotpatch:call'
const ATTEMPTS = 10

/**
 * Calls `fn(...args)` (up to four integers or pointers) in the target and gives what it returned. The stub and its block have a
 * mapping of their own, which stays if the call does not come back in `timeout` milliseconds: its thread may still use it.
 * Throws CALL_TIMEOUT, MAPPING_REFUSED, PROCESS_GONE.
 */
export function callRemote(target: Target, fn: bigint, args: readonly bigint[], timeout: number): bigint {
  if (target.machine !== 'x64') throw new HotpatchError('PROCESS_UNSUPPORTED', `calls into ${target.machine} processes are not made yet`)
  const block = encodeRemoteCallBlock(fn, args)
  const stub = mapSomewhere(target, assemble(REMOTE_CALL), block)
  const blockAddress = stub + BigInt(PAGE_SIZE)
  const thread = win32.CreateRemoteThread(target.change(), null, 0, stub, blockAddress, 0, null)
  if (thread === 0) {
    const error = lastError()
    unmapSegments(target, stub, 2 * PAGE_SIZE)
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
  const result = viewOf(readMemory(target, blockAddress, REMOTE_CALL_BLOCK.size))
  unmapSegments(target, stub, 2 * PAGE_SIZE)
  if (result.getBigUint64(REMOTE_CALL_BLOCK.done, true) !== 1n)
    throw goneOr(target, () => new HotpatchError('DEFECT', `the call of ${hex(fn)} in process ${target.pid} ended without a result`))
  return result.getBigUint64(REMOTE_CALL_BLOCK.result, true)
}

function mapSomewhere(target: Target, code: Uint8Array, data: Uint8Array): bigint {
  const size = 2 * PAGE_SIZE
  for (let attempt = 0; ; attempt++) {
    const address = findPlace(target, { size, near: 0x1_0000_0000n, low: 0n, high: 1n << 63n })
    if (address === undefined) throw goneOr(target, () => new HotpatchError('NO_PLACE', `process ${target.pid} has no ${size} bytes free`))
    try {
      mapSegments(target, {
        address,
        name: NAME,
        segments: [
          { offset: 0, size: PAGE_SIZE, protection: 'rx', content: code },
          { offset: PAGE_SIZE, size: PAGE_SIZE, protection: 'rw', content: data },
        ],
      })
      return address
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'PLACE_TAKEN' || attempt >= ATTEMPTS) throw error
    }
  }
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
