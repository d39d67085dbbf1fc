import { describe, expect, it } from 'vitest'
import type { Aggregate, DebugTypes, FunctionInfo } from '../../binary/types/model.ts'
import type { LinkGraph } from '../graph.ts'
import { code, object } from '../testing/graphs.ts'
import { RULES, type Verdict } from './rules.ts'
import type { Uses } from './uses.ts'

const NOBODY: Uses = { containers: [], statics: [], frames: [], keptPointers: [], parameters: [], pointerVariables: [], returns: [] }
/** xor eax, eax; ret */
const ENDS = [0x31, 0xc0, 0xc3, 0x90]

describe('frames-only', () => {
  const rule = RULES.find(({ name }) => name === 'frames-only')
  /** A struct of `size` bytes that lies in the frame of `f` alone, which switches. */
  const judged = (machine: LinkGraph['machine'], size: number): Verdict | undefined => {
    const graph: LinkGraph = { ...object({ path: 'a.o', blocks: [code('f', ENDS)] }), machine, types: () => ({}) as DebugTypes }
    const uses: Uses = { ...NOBODY, frames: [{ name: 'f', file: 'a.o', graph, info: { external: false } as FunctionInfo }] }
    return rule?.judge({
      key: 'struct framed',
      change: { sizeBefore: size, sizeAfter: size + 8, members: [] } as never,
      before: { size } as Aggregate,
      uses,
      everywhere: () => ({ graphs: [graph], uses }),
      switched: new Set(graph.blocks),
    })
  }

  it.each([
    ['x64', 200],
    ['x64', 24],
    ['arm64', 24],
  ] as const)('lets through what no allocator is told the size of: %s, %i bytes', (machine, size) =>
    expect(judged(machine, size)).toMatchObject({ safe: true }),
  )

  it('lets nothing through whose size is telling where the code is not searched for it', () =>
    expect(judged('arm64', 200)).toEqual({ safe: false, why: 'code for arm64 is not searched for its size' }))
})
