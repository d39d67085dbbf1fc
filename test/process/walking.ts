/** Walks of the stacks of a live process, as the engine makes them in a stop. */
import { StoppedMemory } from '../../src/engine/stacks/stopped-memory.ts'
import type { FrameModule, WalkEnd } from '../../src/machine/x64/unwind.ts'
import { Walker } from '../../src/machine/x64/unwind.ts'
import type { Process } from '../../src/process/contract.ts'

export interface Walk {
  readonly threadId: number
  readonly end: WalkEnd
  /** The instruction pointer, then return addresses, innermost first. */
  readonly frames: readonly bigint[]
}

/** Every thread's walk in one stop. */
export function walkAll(process: Process, modules: readonly FrameModule[], stackBytes = 8192): Walk[] {
  const walks: Walk[] = []
  const memory = new StoppedMemory(0xffffffff)
  const walker = new Walker(modules)
  process.switchCode({
    writes: [],
    stopTimeout: 10_000,
    stacks: { bytes: stackBytes, regions: process.regions() },
    inspect(stopped) {
      for (let i = 0; i < stopped.count; i++) {
        const frames: bigint[] = []
        stopped.registers(i, walker.registers)
        memory.use(stopped, stopped.stack(i))
        const end = walker.walk(memory, (address) => {
          frames.push(BigInt(address))
          return false
        })
        walks.push({ threadId: stopped.id(i), end, frames })
      }
      return undefined
    },
  })
  return walks
}
