/** `Process.calls`: functions of the target, called on one of its threads, with their results. */
import { HotpatchError } from '../../errors.ts'
import { ARM64_REMOTE_CALL, assembleWords } from '../../machine/arm64/remote-call.ts'
import { assemble, REMOTE_CALL_SYSV } from '../../machine/x64/stubs.ts'
import { type CallMemory, withCalls } from '../call-memory.ts'
import type { CallInside } from '../contract.ts'
import type { PlaceRequest } from '../place.ts'
import type { Target } from './borrow.ts'
import { requireLoading } from './loading.ts'
import { mapInto, unmapFrom } from './mapping.ts'
import { CallOutcome, callFunction } from './remote-call.ts'

const CODE = process.arch === 'arm64' ? assembleWords(ARM64_REMOTE_CALL) : assemble(REMOTE_CALL_SYSV)

const MOST_ARGUMENTS = 4

export function callsInside<T>(
  target: Target,
  findPlace: (request: PlaceRequest) => bigint | undefined,
  action: (call: CallInside) => T,
): T {
  const { memory } = target
  const host = {
    code: CODE,
    findPlace,
    map: (request: Parameters<typeof mapInto>[1]) => mapInto(target, request),
    unmap: (address: bigint, size: number) => unmapFrom(target, address, size),
    read: (address: bigint, length: number) => memory.read(address, length),
    write: (address: bigint, bytes: Uint8Array) => memory.write(address, bytes),
  }
  return withCalls(host, (calls) => callOn(target, calls), action)
}

const callOn =
  (target: Target, memory: CallMemory): CallInside =>
  (address, args, { deadlineMs, loadsModules }) => {
    if (args.length > MOST_ARGUMENTS)
      throw new HotpatchError('DEFECT', `a call has at most ${MOST_ARGUMENTS} arguments, not ${args.length}`)
    if (loadsModules === true) requireLoading(target)
    const prepared = memory.prepare(address, args)
    const outcome = callFunction(target, prepared.code, [prepared.block], deadlineMs)
    const what = `the function at 0x${address.toString(16)} of process ${target.pid}`
    const facts = { pid: target.pid, function: `0x${address.toString(16)}` }
    if (outcome === CallOutcome.running) {
      // Its thread comes back through our code and writes its result beside it.
      memory.leave()
      throw new HotpatchError('CALL_TIMEOUT', `${what} did not return within ${deadlineMs} ms`, { facts: { ...facts, deadlineMs } })
    }
    const result = memory.result(prepared)
    if (result !== undefined) return result
    const how = outcome === CallOutcome.gone ? 'ended the thread that it was called on' : 'faulted'
    throw new HotpatchError('CALL_FAULTED', `${what} ${how}`, { facts })
  }
