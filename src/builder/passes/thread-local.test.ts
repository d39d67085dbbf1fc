import { describe, expect, it } from 'vitest'
import type { Planned } from '../build-plan.ts'
import type { LinkGraph } from '../graph.ts'
import { type BlockSpec, code, FIELD32, LOAD, object } from '../testing/graphs.ts'
import type { LinkOptions } from '../testing/link.ts'
import { data, f, leads, refusal, run } from '../testing/plans.ts'

describe('thread-local variables of the base image', () => {
  const GD = [0x66, 0x48, 0x8d, 0x3d, ...FIELD32, 0x66, 0x66, 0x48, 0xe8, ...FIELD32]
  const general: BlockSpec['edges'] = [
    { at: 4, kind: 'tlsgd32', to: 'mine' },
    { at: 12, kind: 'branch32', to: '__tls_get_addr' },
  ]
  const MOVE = [0x64, 0x8b, 0x04, 0x25, ...FIELD32]
  const others: BlockSpec[] = [
    { name: 'theirs', kind: 'tls', content: [1, 2, 3, 4] },
    { name: 'mine', kind: 'tls', content: [5, 6, 7, 8] },
  ]
  const planned = (body: number[], edges: BlockSpec['edges'], options: LinkOptions) => {
    const side = (v: number) => [f(v, body, edges), ...others]
    return run({ before: side(1), after: side(2), link: { imports: { __tls_get_addr: 'lazy' }, ...options } })
  }
  const bytesOf = ({ plan }: Planned): string => Buffer.from(plan?.blocks[0]?.content?.subarray(9) ?? []).toString('hex')
  const inProgram: LinkOptions = { isProgram: true, threadLocal: { fromThreadPointer: -16 } }

  it('a program: by their distance from the thread pointer, without a call', () => {
    const result = planned(GD, general, inProgram)
    expect(leads(result.plan, 'f')).toEqual([])
    expect(bytesOf(result)).toMatch(/^64488b042500000000488d80f8ffffff/)
  })

  it('a program: initial exec loads the distance from a pointer of the patch', () => {
    const result = planned([...LOAD], [{ at: 3, kind: 'gottpoff32', to: 'mine' }], inProgram)
    expect(leads(result.plan, 'f')).toEqual(['pcrel32 patch pointer.mine'])
    expect(Buffer.from(result.plan?.blocks[1]?.content ?? []).readBigInt64LE()).toBe(-8n)
  })

  it("a library: a pair of the patch's own with the number of the library's module", () => {
    const slots = [{ holds: 'module', rva: 0xf900, name: undefined, offset: undefined }] as const
    const result = planned(GD, general, { threadLocal: { slots } })
    expect(leads(result.plan, 'f')).toEqual(['pcrel32 patch pair.mine', 'branch32 patch stub.__tls_get_addr'])
    expect(leads(result.plan, 'pair.mine')).toEqual([`abs64 base-pointer ${0xf900}`])
    const pair = result.plan?.blocks.find((b) => b.name === 'pair.mine')
    expect(Buffer.from(pair?.content ?? []).readBigInt64LE(8)).toBe(8n)
  })

  it('a library that has its distance in a slot alone: the call is left out', () => {
    const slots = [{ holds: 'distance', rva: 0xf900, name: undefined, offset: 8 }] as const
    const result = planned(GD, general, { threadLocal: { slots } })
    expect(leads(result.plan, 'f')).toEqual([`pcrel32 base ${0xf900}`])
    expect(bytesOf(result)).toMatch(/^64488b04250000000048030500000000/)
  })

  it("another module's, through the slot for its name", () => {
    const slots = [{ holds: 'pair', rva: 0xf900, name: 'mine', offset: undefined }] as const
    const side = (v: number) => [f(v, GD, general)]
    const options: LinkOptions = { imports: { __tls_get_addr: 'lazy' }, threadLocal: { slots } }
    const { plan } = run({ before: side(1), after: side(2), link: options })
    expect(leads(plan, 'f')).toEqual([`pcrel32 base ${0xf900}`, 'branch32 patch stub.__tls_get_addr'])
  })

  it('is refused where nothing leads to it, and where another module may have taken its place', () => {
    const library = (v: number): BlockSpec[] => [f(v, MOVE, [{ at: 4, kind: 'tpoff32', to: 'mine' }]), ...others]
    expect(refusal({ before: library(1), after: library(2) })).toEqual(['TLS_UNSUPPORTED f'])
    const slots = [{ holds: 'module', rva: 0xf900, name: undefined, offset: undefined }] as const
    const side = (v: number) => [f(v, GD, general), ...others]
    const options: LinkOptions = { imports: { __tls_get_addr: 'lazy' }, exported: ['mine'], threadLocal: { slots } }
    expect(refusal({ before: side(1), after: side(2), link: options })).toEqual(['TLS_UNSUPPORTED f'])
  })

  it('is refused where the code of the base image has it elsewhere', () => {
    const side = (v: number): BlockSpec[] => [f(v, MOVE, [{ at: 4, kind: 'tpoff32', to: 'mine' }]), ...others]
    // What the linker for tests leaves in the field is 0.
    expect(refusal({ before: side(1), after: side(2), link: inProgram })).toEqual(['SYMBOL_AMBIGUOUS f'])
  })

  it('Windows: by the distance from the start of the section', () => {
    // add secrel(%rdx), %ecx
    const uses = (v: number, to: string): BlockSpec => f(v, [0x03, 0x8a, ...FIELD32], [{ at: 2, kind: 'secrel32', to }])
    const coff = (blocks: BlockSpec[]): LinkGraph[] => [object({ path: 'a.o', format: 'coff', blocks })]
    const side = (v: number) => coff([uses(v, 'mine'), ...others])
    const result = run({ before: side(1), after: side(2), link: { format: 'pe' } })
    expect(leads(result.plan, 'f')).toEqual([])
    expect(bytesOf(result)).toMatch(/^038a08000000/)
  })
})

describe('new thread-local variables', () => {
  const others: BlockSpec[] = [{ name: 'mine', kind: 'tls', content: [5, 6, 7, 8] }]
  const fresh: BlockSpec = { name: 'fresh', kind: 'tls', content: [1, 0, 0, 0, 0, 0, 0, 0], alignment: 8 }
  const inProgram: LinkOptions = { isProgram: true, threadLocal: { fromThreadPointer: -16 } }
  /** Of a library that has a slot with the number of its module. */
  const library: LinkOptions = {
    imports: { __tls_get_addr: 'lazy' },
    threadLocal: { slots: [{ holds: 'module', rva: 0xf900, name: undefined, offset: undefined }] },
  }
  const GD = [0x66, 0x48, 0x8d, 0x3d, ...FIELD32, 0x66, 0x66, 0x48, 0xe8, ...FIELD32]
  const LD = [0x48, 0x8d, 0x3d, ...FIELD32, 0xe8, ...FIELD32]
  // mov x@dtpoff(%rax), %ecx
  const OFFSET = [0x8b, 0x88, ...FIELD32]
  const bytesOf = ({ plan }: Planned): string => Buffer.from(plan?.blocks[0]?.content?.subarray(9) ?? []).toString('hex')
  const both = (body: number[], edges: BlockSpec['edges'], link: LinkOptions = inProgram, variable = fresh) => ({
    before: [f(1, []), ...others],
    after: [f(2, body, edges), ...others, variable],
    link,
  })

  it('are in the patch; local exec has the distance in its code, by a record', () => {
    const result = run(both([0x64, 0x8b, 0x04, 0x25, ...FIELD32], [{ at: 4, kind: 'tpoff32', to: 'fresh', addend: 4 }]))
    expect(leads(result.plan, 'f')).toEqual(['tpoff32 patch fresh+4'])
  })

  it.each<[string, number[], BlockSpec['edges'], LinkOptions, RegExp]>([
    ['initial exec', [...LOAD], [{ at: 3, kind: 'gottpoff32', to: 'fresh' }], inProgram, /^488b05/],
    [
      'general dynamic, without its call',
      GD,
      [
        { at: 4, kind: 'tlsgd32', to: 'fresh' },
        { at: 12, kind: 'branch32', to: '__tls_get_addr' },
      ],
      library,
      /^64488b042500000000480305/,
    ],
    [
      'a descriptor',
      [0x48, 0x8d, 0x05, ...FIELD32, 0xff, 0x10],
      [
        { at: 3, kind: 'tlsdesc32', to: 'fresh' },
        { at: 7, kind: 'tlsdesccall', to: 'fresh', addend: 0 },
      ],
      library,
      /^488b05000000006690/,
    ],
  ])('%s: through a pointer with the distance', (_title, body, edges, link, expected) => {
    const result = run(both(body, edges, link))
    expect(leads(result.plan, 'f')).toEqual(['pcrel32 patch distance.fresh'])
    expect(leads(result.plan, 'distance.fresh')).toEqual(['tpoff64 patch fresh'])
    expect(bytesOf(result)).toMatch(expected)
  })

  const localDynamic = (...names: string[]): BlockSpec['edges'] => [
    { at: 3, kind: 'tlsld32', to: names[0] as string },
    { at: 8, kind: 'branch32', to: '__tls_get_addr' },
    ...names.map((to, i) => ({ at: 14 + 6 * i, kind: 'dtpoff32', to, addend: 0 }) as const),
  ]

  it('local dynamic: what it counts from becomes the thread pointer', () => {
    for (const link of [inProgram, library]) {
      const result = run(both([...LD, ...OFFSET], localDynamic('fresh'), { ...library, ...link }))
      expect(leads(result.plan, 'f')).toEqual(['dtpoff32 patch fresh'])
      expect(bytesOf(result)).toMatch(/^66666664488b0425000000008b88/)
    }
  })

  it('local dynamic beside a variable of before: in a program alone', () => {
    const mixed = (link: LinkOptions) => both([...LD, ...OFFSET, ...OFFSET], localDynamic('mine', 'fresh'), { ...library, ...link })
    expect(leads(run(mixed(inProgram)).plan, 'f')).toEqual(['dtpoff32 patch fresh'])
    expect(refusal(mixed(library))).toEqual(['TLS_UNSUPPORTED f'])
  })

  it('are refused with an address as their initial value, and outside of themselves', () => {
    const pointing: BlockSpec = { ...fresh, edges: [{ at: 0, kind: 'abs64', to: 'f' }] }
    const use: BlockSpec['edges'] = [{ at: 3, kind: 'gottpoff32', to: 'fresh' }]
    expect(refusal(both([...LOAD], use, inProgram, pointing))).toEqual(['TLS_CHANGED fresh'])
    expect(refusal(both([...LOAD], [{ at: 3, kind: 'gottpoff32', to: 'fresh', addend: 60 }]))).toEqual(['REFERENCE_UNSUPPORTED f'])
  })

  it('of another size than before are refused', () => {
    const wider: BlockSpec = { name: 'mine', kind: 'tls', content: 8 }
    const uses = (v: number): BlockSpec => f(v, [...LOAD], [{ at: 3, kind: 'gottpoff32', to: 'mine' }])
    expect(refusal({ before: [uses(1), ...others], after: [uses(2), wider], link: inProgram })).toEqual(['TLS_CHANGED mine'])
  })
})

describe('new thread-local variables of Windows', () => {
  // mov index(%rip), %eax; add secrel(%rdx), %ecx
  const INDEX = [0x8b, 0x05, ...FIELD32]
  const USE = [0x03, 0x8a, ...FIELD32]
  const fresh: BlockSpec = { name: 'fresh', kind: 'tls', content: [1, 0, 0, 0, 0, 0, 0, 0], alignment: 8 }
  const more: BlockSpec = { name: 'more', kind: 'tls', content: 4 }
  const others: BlockSpec[] = [{ name: 'mine', kind: 'tls', content: [5, 6, 7, 8] }, data('_tls_index', 4)]
  const coff = (...blocks: BlockSpec[]): LinkGraph[] => [object({ path: 'a.o', format: 'coff', blocks: [...blocks, ...others] })]
  const body = [...INDEX, ...USE, ...USE]
  const uses = (...names: string[]): BlockSpec['edges'] => [
    { at: 2, kind: 'pcrel32', to: '_tls_index' },
    ...names.map((to, i) => ({ at: 8 + 6 * i, kind: 'secrel32', to, addend: i }) as const),
  ]
  const both = (edges: BlockSpec['edges'], ...variables: BlockSpec[]) => ({
    before: coff(f(1, body, uses('mine'))),
    after: coff(f(2, body, edges), ...variables),
    link: { format: 'pe' } as const,
  })

  it('are in the patch: offsets in a block, and its number in a field of the function', () => {
    const { plan } = run(both(uses('fresh', 'more'), fresh, more))
    expect(leads(plan, 'f')).toEqual(['pcrel32 patch index.f', 'secrel32 patch fresh', 'secrel32 patch more+1'])
    expect(leads(plan, 'index.f')).toEqual(['tlsindex32 patch fresh', 'tlsindex32 patch more'])
  })

  it('of two functions: each has a number of its own', () => {
    const before = coff(f(1, body, uses('mine')), code('g', [1, ...body], []))
    const after = coff(
      f(2, body, uses('fresh')),
      code(
        'g',
        [2, ...body],
        uses('more')?.map((edge) => ({ ...edge, at: edge.at + 1 })),
      ),
      fresh,
      more,
    )
    const { plan } = run({ before, after, link: { format: 'pe' } })
    expect(leads(plan, 'index.f')).toEqual(['tlsindex32 patch fresh'])
    expect(leads(plan, 'index.g')).toEqual(['tlsindex32 patch more'])
  })

  it('beside one that was there are refused: one number is for one block', () => {
    expect(refusal(both(uses('mine', 'fresh'), fresh))).toEqual(['TLS_UNSUPPORTED f'])
  })

  it('are refused with an address as their initial value, and where loaders may not align them', () => {
    const pointing: BlockSpec = { ...fresh, edges: [{ at: 0, kind: 'abs64', to: 'f' }] }
    expect(refusal(both(uses('fresh'), pointing))).toEqual(['TLS_CHANGED fresh'])
    expect(refusal(both(uses('fresh'), { ...fresh, alignment: 32 }))).toEqual(['TLS_CHANGED fresh'])
    expect(run(both(uses('fresh'), { ...fresh, alignment: 16 })).plan).toBeDefined()
  })
})
