/** The threads of a FakeTarget as a stop shows them. */
import { HotpatchError } from '../../errors.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { StackRequest, StoppedThreads, SwitchRequest } from '../contract.ts'
import { type PlacedWindow, StackWindows } from '../stack-windows.ts'
import type { FakeTarget } from './target.ts'

export function viewOfThreads(target: FakeTarget, request: StackRequest | undefined): StoppedThreads {
  const numbers = architectureOf(target.machine).unwinding
  const windows = new StackWindows(request ?? { bytes: 0, regions: [] }, (bytes) => new Uint32Array(bytes / 4))
  windows.reserve(target.threads.length)
  const thread = (index: number) => {
    const found = target.threads[index]
    if (found === undefined) throw new HotpatchError('DEFECT', `thread ${index} of ${target.threads.length} was asked for`)
    return found
  }
  const read = (address: number, into: Uint8Array): number => {
    const length = readable(target, address, into.length)
    into.set(target.peek(BigInt(address), length) ?? [])
    return length
  }
  const fill = (window: PlacedWindow): PlacedWindow => {
    window.length -= window.length % 8
    window.length = read(window.address, new Uint8Array(window.words.buffer, window.at * 4, window.length))
    return window
  }
  return {
    count: target.threads.length,
    id: (index) => thread(index).id,
    instructionPointer: (index) => thread(index).instructionPointer,
    stackPointer: (index) => thread(index).stackPointer,
    registers(index, into) {
      const { registers, stackPointer, instructionPointer } = thread(index)
      into.fill(0)
      for (const [number, value] of registers ?? []) into[number] = Number(value)
      into[numbers.stackPointer] = Number(stackPointer)
      into[numbers.instructionPointer] = Number(instructionPointer)
    },
    threadPointer: () => Number.NaN,
    stack: (index) => fill(windows.place(index, Number(thread(index).stackPointer))),
    read,
  }
}

/** Lets the target's threads move (`onResume`) until those that are to be caught are out, a few hundred times at most. */
export function catchThreads(target: FakeTarget, { catchFirst, stacks }: SwitchRequest): void {
  for (let turn = 0; catchFirst !== undefined && turn < MOST_TURNS; turn++) {
    const view = viewOfThreads(target, stacks)
    const inside = target.threads.some(({ id }, i) => catchFirst.threads.includes(id) && !catchFirst.isOut(view, i))
    if (!inside) return
    target.onResume?.()
  }
}

const MOST_TURNS = 500

/** How much of [address, address + length) is mapped, from its start on. */
function readable(target: FakeTarget, address: number, length: number): number {
  const end = address + length
  let at = address
  for (const region of target.regions()) if (Number(region.start) <= at && at < end) at = Math.max(at, Number(region.end))
  return Math.min(at, end) - address
}
