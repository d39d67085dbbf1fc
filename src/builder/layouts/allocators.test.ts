import { describe, expect, it } from 'vitest'
import type { GraphSymbol } from '../graph.ts'
import { object } from '../testing/graphs.ts'
import { Allocators } from './allocators.ts'

const CALL = [0xe8, 0, 0, 0, 0, 0xc3]
const calls = (name: string, ...to: string[]) => ({
  name,
  content: to.flatMap(() => CALL.slice(0, 5)),
  edges: to.map((target, i) => ({ at: 5 * i + 1, kind: 'branch32' as const, to: target })),
})

describe('Allocators', () => {
  const graph = object({
    path: 'a.o',
    blocks: [
      calls('xcalloc', 'calloc', 'abort'),
      calls('zcalloc', 'malloc'),
      calls('outer_alloc', 'xcalloc'),
      calls('either_alloc', 'calloc', 'realloc'),
      calls('round_alloc', 'round_alloc'),
      { name: 'hook_alloc', kind: 'data', content: 8, edges: [{ at: 0, kind: 'abs64', to: 'calloc' }] },
      { name: 'plain_hook_alloc', kind: 'data', content: 8, edges: [{ at: 0, kind: 'abs64', to: 'malloc' }] },
    ],
  })
  const allocators = new Allocators([graph])
  const external = (name: string): GraphSymbol => ({
    name,
    block: undefined,
    offset: 0,
    size: 0,
    binding: 'global',
    kind: 'none',
    hidden: false,
    absolute: undefined,
  })
  const zeroes = (name: string) => allocators.zeroes(external(name))

  it('knows what the C library zeroes, under the names that linkers give it', () => {
    expect(['calloc', '__imp_calloc', 'calloc@GLIBC_2.2.5'].map(zeroes)).toEqual([true, true, true])
    expect(['malloc', 'realloc', 'strdup', 'my_calloc'].map(zeroes)).toEqual([false, false, false, false])
  })

  it('believes a function what it calls, and a variable what it points to, never a name', () => {
    expect(['xcalloc', 'outer_alloc', 'hook_alloc'].map(zeroes)).toEqual([true, true, true])
    expect(['zcalloc', 'either_alloc', 'round_alloc', 'plain_hook_alloc'].map(zeroes)).toEqual([false, false, false, false])
  })
})
