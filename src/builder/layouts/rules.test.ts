import { describe, expect, it } from 'vitest'
import type { Aggregate, DebugTypes, FunctionInfo } from '../../binary/types/model.ts'
import { wordsOf } from '../../machine/arm64/instructions.ts'
import type { LinkGraph } from '../graph.ts'
import { type BlockSpec, code, object } from '../testing/graphs.ts'
import { RULES, type Verdict } from './rules.ts'
import type { Uses } from './uses.ts'

const NOBODY: Uses = { containers: [], statics: [], frames: [], keptPointers: [], parameters: [], pointerVariables: [], returns: [] }
/** xor eax, eax; ret */
const ENDS = [0x31, 0xc0, 0xc3, 0x90]
/** BL of ARM64 with a relocation. */
const BL = 0x94000000

describe('frames-only', () => {
  const rule = RULES.find(({ name }) => name === 'frames-only')
  /** A struct of `size` bytes that lies in the frame of `f` alone, which switches. */
  const judged = (machine: LinkGraph['machine'], size: number, block: BlockSpec = code('f', ENDS)): Verdict | undefined => {
    const types = { definitions: () => [{}] } as unknown as DebugTypes
    const graph: LinkGraph = { ...object({ path: 'a.o', blocks: [block] }), machine, types: () => types }
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
    ['arm64', 200],
    ['arm64', 24],
  ] as const)('lets through what no allocator is told the size of: %s, %i bytes', (machine, size) =>
    expect(judged(machine, size)).toMatchObject({ safe: true }),
  )

  /** mov x1, #200; then what is given, with a reference in its last instruction. */
  const withSize = (rest: readonly number[], to: string) => ({
    name: 'f',
    content: [...wordsOf([0xd2801901, ...rest])],
    edges: [{ at: 4 * rest.length, kind: 'branch26' as const, to }],
  })

  it.each([
    ['an allocator is told it', withSize([BL], 'calloc'), 'calloc is told its size in f'],
    ['it is computed with', withSize([0x9b010000, BL], 'take'), 'f has its size (200) in a computation'],
  ] as const)('lets nothing through whose size is telling where %s', (_what, block, why) =>
    expect(judged('arm64', 200, block)).toEqual({ safe: false, why }),
  )
  it('lets through what another function is told the size of', () =>
    expect(judged('arm64', 200, withSize([BL], 'memset'))).toMatchObject({ safe: true }))
})
