/** Telling the unwinder of a process about code that was mapped into it: RtlAddFunctionTable, called inside. */

import { HotpatchError } from '../../errors.ts'
import type { UnwindRegistration, UnwindRequest } from '../contract.ts'
import { callRemote, ntdllFunction } from './remote-call.ts'
import { hex, type Target } from './target.ts'

/** Milliseconds for a call that only takes ntdll's own lock. Thread start-up code of the target's DLLs runs before it. */
const DEADLINE = { deadlineMs: 5_000 }

/** BOOLEAN: only the lowest byte of the result counts. */
const succeeded = (result: bigint): boolean => (result & 0xffn) !== 0n

export function registerUnwind(target: Target, request: UnwindRequest): UnwindRegistration | undefined {
  if (request.kind !== 'pdata') return undefined
  const { address, count, imageBase } = request
  const add = ntdllFunction(target, 'RtlAddFunctionTable')
  if (!succeeded(callRemote(target, add, [address, BigInt(count), imageBase], DEADLINE)))
    throw new HotpatchError('MAPPING_REFUSED', `process ${target.pid} does not accept unwind data at ${hex(address)}`)
  return { kind: 'pdata', address }
}

export function unregisterUnwind(target: Target, { address }: UnwindRegistration): void {
  const remove = ntdllFunction(target, 'RtlDeleteFunctionTable')
  if (!succeeded(callRemote(target, remove, [address], DEADLINE)))
    throw new HotpatchError('DEFECT', `process ${target.pid} knows no unwind data at ${hex(address)}`)
}
