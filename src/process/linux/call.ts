/** `Process.call`: a function of the target, called on one of its threads, with its result. */
import { HotpatchError } from '../../errors.ts'
import { ARM64_REMOTE_CALL, assembleWords } from '../../machine/arm64/remote-call.ts'
import { REMOTE_CALL_BLOCK } from '../../machine/call-block.ts'
import { assemble, REMOTE_CALL_SYSV } from '../../machine/x64/stubs.ts'
import { CALL_SIZE, mapCall, resultIn } from '../call-memory.ts'
import type { CallArgument, CallOptions } from '../contract.ts'
import type { PlaceRequest } from '../place.ts'
import type { Target } from './borrow.ts'
import { mapInto, unmapFrom } from './mapping.ts'
import { CallOutcome, callFunction } from './remote-call.ts'

const CODE = process.arch === 'arm64' ? assembleWords(ARM64_REMOTE_CALL) : assemble(REMOTE_CALL_SYSV)

const MOST_ARGUMENTS = 4

export function callInside(
  target: Target,
  find: (request: PlaceRequest) => bigint | undefined,
  address: bigint,
  args: readonly CallArgument[],
  { deadlineMs }: CallOptions,
): bigint {
  if (args.length > MOST_ARGUMENTS) throw new HotpatchError('DEFECT', `a call has at most ${MOST_ARGUMENTS} arguments, not ${args.length}`)
  const { code, block } = mapCall(find, (request) => mapInto(target, request), CODE, address, args)
  const outcome = attempt(target, code, block, deadlineMs)
  const what = `the function at 0x${address.toString(16)} of process ${target.pid}`
  const facts = { pid: target.pid, function: `0x${address.toString(16)}` }
  // Its thread comes back through our code and writes its result beside it.
  if (outcome === CallOutcome.running)
    throw new HotpatchError('CALL_TIMEOUT', `${what} did not return within ${deadlineMs} ms`, { facts: { ...facts, deadlineMs } })
  const result = resultIn(target.memory.read(block, REMOTE_CALL_BLOCK.size))
  unmapFrom(target, code, CALL_SIZE)
  if (result !== undefined) return result
  const how = outcome === CallOutcome.gone ? 'ended the thread that it was called on' : 'faulted'
  throw new HotpatchError('CALL_FAULTED', `${what} ${how}`, { facts })
}

/** Nothing stays mapped where it was never called. */
function attempt(target: Target, code: bigint, block: bigint, deadlineMs: number): CallOutcome {
  try {
    return callFunction(target, code, [block], deadlineMs)
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE') unmapFrom(target, code, CALL_SIZE)
    throw error
  }
}
