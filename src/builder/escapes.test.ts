import { describe, expect, it } from 'vitest'
import { buildPlan } from './build-plan.ts'
import { type Escapes, escapesOf } from './escapes.ts'
import { type BlockSpec, CALL, code, FIELD32, FIELD64, LEA, LOAD, moveImmediate, object, program } from './testing/graphs.ts'
import { link } from './testing/link.ts'

const naming = { sequence: 1, id: 'test-1', description: '', cves: [] }
const as = (blocks: BlockSpec[]) => object({ path: 'a.o', blocks })

/** Of a patch whose one function has this body, with more blocks of the fixed build. */
function escapes(body: readonly number[], edges: BlockSpec['edges'] = [], more: BlockSpec[] = []): string[] {
  const before = as([code('f', moveImmediate(1))])
  const shifted = edges.map((edge) => ({ ...edge, at: edge.at + 5 }))
  const after = as([code('f', [...moveImmediate(2), ...body], shifted), ...more])
  const { plan } = buildPlan(program([before], [after]), link([before]), naming)
  if (plan === undefined) throw new Error('nothing to patch')
  return Object.entries(escapesOf(plan) satisfies Escapes).flatMap(([kind, kept]) => (kept ? [kind] : []))
}

const fresh = (edges: BlockSpec['edges'] = [], content: number[] = moveImmediate(7)): BlockSpec =>
  code('fresh', content, edges, { binding: 'local' })
const counter: BlockSpec = { name: 'counter', kind: 'bss', content: 8, binding: 'local' }
const text: BlockSpec = { name: 'text', kind: 'rodata', content: 'hello', anonymous: true, constant: 'strings' }

describe('addresses that the program can come to hold', () => {
  it.each([
    ['none, where the patch is one function', [], [], [], []],
    ['none by a direct call', CALL, [{ at: 1, kind: 'branch32', to: 'fresh' }], [fresh()], []],
    ['none by reading or writing a variable', LOAD, [{ at: 3, kind: 'pcrel32', to: 'counter' }], [counter], []],
    ['that of a variable by lea', LEA, [{ at: 3, kind: 'pcrel32', to: 'counter' }], [counter], ['data']],
    ['that of a literal by lea', LEA, [{ at: 3, kind: 'pcrel32', to: 'text' }], [text], ['constants']],
    ['that of a function by lea', LEA, [{ at: 3, kind: 'pcrel32', to: 'fresh' }], [fresh()], ['code']],
    ['that of a function through a pointer of its own', LOAD, [{ at: 3, kind: 'gotpcrel32', to: 'fresh' }], [fresh()], ['code']],
    [
      'what a pointer in data leads to',
      LOAD,
      [{ at: 3, kind: 'pcrel32', to: 'pointer' }],
      [{ name: 'pointer', kind: 'data', content: FIELD64, edges: [{ at: 0, kind: 'abs64', to: 'text' }], binding: 'local' }, text],
      ['constants'],
    ],
    [
      'those of a relative jump table, but not where it leads',
      LEA,
      [{ at: 3, kind: 'pcrel32', to: 'table' }],
      [{ name: 'table', kind: 'rodata', content: FIELD32, edges: [{ at: 0, kind: 'pcrel32', to: 'f', addend: 5 }], anonymous: true }],
      ['constants'],
    ],
    [
      'those that a table of pointers holds',
      LOAD,
      [{ at: 3, kind: 'pcrel32', to: 'operations' }],
      [{ name: 'operations', kind: 'rodata', content: FIELD64, edges: [{ at: 0, kind: 'abs64', to: 'fresh' }], binding: 'local' }, fresh()],
      ['code'],
    ],
  ] satisfies [string, readonly number[], BlockSpec['edges'], BlockSpec[], string[]][])('%s', (_, body, edges, more, expected) => {
    expect(escapes(body, edges, more)).toEqual(expected)
  })
})
