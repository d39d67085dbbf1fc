/**
 * Unwind data of a patch image, made known to the target's unwinder: libgcc_s keeps a list of sections besides what the loader knows, and
 * `__register_frame` adds one. A program without libgcc_s throws no C++ exceptions through our code, at most it prints stacks; one
 * that has an unwinder of its own linked into it cannot be told.
 */
import { readElfFromMemory } from '../../binary/elf/memory.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { MappedModule, UnwindRegistration, UnwindRequest } from '../contract.ts'
import type { Target } from './borrow.ts'
import { CallOutcome, callFunction } from './remote-call.ts'

const LIBRARY = /^libgcc_s\.so/
/** Milliseconds for finding a thread that may be used, and as many for the call. */
const WITHIN = 1000

/**
 * `Process.registerUnwind`. undefined: the target has no libgcc_s, no thread of it was fit for the call (see remote-call.ts), or the
 * section has no end mark, without which the unwinder would read on behind it.
 */
export function registerFrames(target: Target, modules: readonly MappedModule[], request: UnwindRequest): UnwindRegistration | undefined {
  if (request.kind !== 'eh_frame' || !hasEnd(target.memory.read(request.address, request.size))) return undefined
  const register = findFunction(target, modules, '__register_frame')
  if (register === undefined) return undefined
  try {
    const outcome = callFunction(target, register, [request.address], WITHIN)
    return outcome === CallOutcome.returned ? { kind: 'eh_frame', address: request.address } : undefined
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'NO_SAFE_THREAD') return undefined
    throw error
  }
}

/**
 * `Process.unregisterUnwind`. Only for what was registered: libgcc_s ends the program that takes away what it does not know.
 * Throws NO_SAFE_THREAD: try again before the image is unmapped.
 */
export function unregisterFrames(target: Target, modules: readonly MappedModule[], registration: UnwindRegistration): void {
  const deregister = findFunction(target, modules, '__deregister_frame')
  if (deregister === undefined) return
  const outcome = callFunction(target, deregister, [registration.address], WITHIN)
  if (outcome !== CallOutcome.returned)
    throw new HotpatchError(
      'NO_SAFE_THREAD',
      `the unwind data at 0x${registration.address.toString(16)} could not be taken away (${outcome})`,
    )
}

function findFunction(target: Target, modules: readonly MappedModule[], name: string): bigint | undefined {
  const module = modules.find((candidate) => LIBRARY.test(candidate.name))
  if (module === undefined) return undefined
  const image = readElfFromMemory(module.base, (address, length) => target.memory.read(address, length))
  const symbol = image.dynamicSymbols().find((candidate) => candidate.name === name && candidate.value !== 0n)
  return symbol === undefined ? undefined : image.bias + symbol.value
}

/** Whether the records of an .eh_frame section lead to a record of length 0 (System V ABI / LSB: the end mark). */
export function hasEnd(section: Uint8Array): boolean {
  const view = viewOf(section)
  for (let at = 0; at + 4 <= section.length; ) {
    const length = view.getUint32(at, true)
    if (length === 0) return true
    if (length === 0xffffffff) return false
    at += 4 + length
  }
  return false
}
