import { describe, expect, it } from 'vitest'
import { type BlockSpec, CALL, code, LEA, moveImmediate } from '../testing/graphs.ts'
import { as, data, f, leads, refusal, run } from '../testing/plans.ts'

/** libwebp's CVE-2023-4863 adds functions to a source that is compiled twice, once for the library and once for its smaller one. */
describe('a new function that two objects have', () => {
  const user = (n: number) =>
    as('main.o', [f(n, n === 1 ? [] : [...CALL], n === 1 ? [] : [{ at: 1, kind: 'branch32' as const, to: 'added' }])])
  const text = (content: string): BlockSpec => ({
    name: '.L.str',
    kind: 'rodata',
    section: '.rodata.str1.1',
    content: [...Buffer.from(content)],
    binding: 'local',
    constant: 'strings',
  })
  const added = (says: string, state: BlockSpec[] = []) => [
    code(
      'added',
      [...LEA, ...(state.length > 0 ? LEA : moveImmediate(1))],
      [{ at: 3, kind: 'pcrel32' as const, to: '.L.str' }, ...(state.length > 0 ? [{ at: 10, kind: 'pcrel32' as const, to: 'state' }] : [])],
    ),
    text(says),
    ...state,
  ]
  const old = [as('one/u.o', [code('kept', [])], 'u.c'), as('two/u.o', [code('kept', [])], 'u.c')]
  const build = (one: BlockSpec[], two: BlockSpec[]) => ({
    before: [...old, user(1)],
    after: [as('one/u.o', [code('kept', []), ...one], 'u.c'), as('two/u.o', [code('kept', []), ...two], 'u.c'), user(2)],
    linked: [old[0] as (typeof old)[number], user(1)],
  })

  it('travels once where both are the same', () => {
    const { plan } = run(build(added('text\0'), added('text\0')))
    expect(leads(plan, 'f')).toEqual(['branch32 patch added'])
    expect(plan?.blocks.filter(({ name }) => name === 'added')).toHaveLength(1)
  })

  it('is ambiguous where one says another text, or has other code', () => {
    expect(refusal(build(added('text\0'), added('test\0')))).toEqual(['SYMBOL_AMBIGUOUS f'])
    expect(refusal(build(added('text\0'), [code('added', [0x90])]))).toEqual(['SYMBOL_AMBIGUOUS f'])
  })

  it('is ambiguous where it has a variable of its own', () => {
    const own = added('text\0', [data('state', [1, 0, 0, 0], { binding: 'local' })])
    expect(refusal(build(own, own))).toEqual(['SYMBOL_AMBIGUOUS f'])
  })
})
