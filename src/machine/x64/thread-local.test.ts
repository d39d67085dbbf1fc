import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { EdgeKind } from '../edges.ts'
import { agrees, callOf, toInitialExec, toLocalExec, withSlot } from './thread-local.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const hex = (content: Uint8Array): string => Buffer.from(content).toString('hex')

interface Sequence {
  readonly title: string
  readonly kind: EdgeKind
  readonly object: string
  readonly field: number
  readonly call: number | undefined
  /** At -8 bytes from the thread pointer: what GNU ld makes of it in a program (`objdump -d`). */
  readonly localExec: string
}

const SEQUENCES: readonly Sequence[] = [
  {
    title: 'general dynamic',
    kind: 'tlsgd32',
    object: '66488d3d00000000 666648e800000000',
    field: 4,
    call: 8,
    localExec: '64488b042500000000 488d80f8ffffff',
  },
  {
    title: 'general dynamic without a PLT',
    kind: 'tlsgd32',
    object: '66488d3d00000000 6648ff1500000000',
    field: 4,
    call: 8,
    localExec: '64488b042500000000 488d80f8ffffff',
  },
  {
    title: 'local dynamic',
    kind: 'tlsld32',
    object: '488d3d00000000 e800000000',
    field: 3,
    call: 5,
    localExec: '666666 64488b042500000000',
  },
  {
    title: 'local dynamic without a PLT',
    kind: 'tlsld32',
    object: '488d3d00000000 ff1500000000',
    field: 3,
    call: 6,
    localExec: '66666666 64488b042500000000',
  },
  { title: 'a descriptor', kind: 'tlsdesc32', object: '488d0500000000', field: 3, call: undefined, localExec: '48c7c0f8ffffff' },
  {
    title: 'a descriptor through another register',
    kind: 'tlsdesc32',
    object: '4c8d3d00000000',
    field: 3,
    call: undefined,
    localExec: '49c7c7f8ffffff',
  },
  { title: "a descriptor's call", kind: 'tlsdesccall', object: 'ff10', field: 0, call: undefined, localExec: '6690' },
  { title: 'an offset', kind: 'dtpoff32', object: '8b8000000000', field: 2, call: undefined, localExec: '8b80f8ffffff' },
  { title: 'a distance', kind: 'tpoff32', object: '648b042500000000', field: 4, call: undefined, localExec: '648b0425f8ffffff' },
]

describe('accesses to thread-local data', () => {
  it.each(SEQUENCES)('$title by a distance', ({ kind, object, field, call, localExec }) => {
    const content = bytes(object)
    expect(callOf(kind, content, field)).toBe(call)
    expect(toLocalExec(kind, content, field, -8)).toBe(true)
    expect(hex(content)).toBe(localExec.replaceAll(' ', ''))
  })

  it.each(SEQUENCES.filter((s) => s.kind === 'tlsgd32'))('$title through a slot with the distance', ({ kind, object, field }) => {
    const content = bytes(object)
    expect(toInitialExec(kind, content, field)).toEqual({ field: 12, kind: 'pcrel32' })
    expect(hex(content)).toBe('64488b042500000000 48030500000000'.replaceAll(' ', ''))
  })

  it('a descriptor through a slot with the distance: it is loaded, and nothing called', () => {
    const content = bytes('488d0500000000 ff10')
    expect(toInitialExec('tlsdesc32', content, 3)).toEqual({ field: 3, kind: 'pcrel32' })
    expect(toInitialExec('tlsdesccall', content, 7)).toBe('no-field')
    expect(hex(content)).toBe('488b05000000006690')
  })

  it('a descriptor of another slot: the call has no field', () => {
    expect(withSlot('tlsdesc32', 3)).toEqual({ field: 3, kind: 'pcrel32' })
    expect(withSlot('tlsdesccall', 7)).toBe('no-field')
  })

  it('what is no such sequence stays as it is', () => {
    const long = SEQUENCES.filter((s) => s.kind !== 'dtpoff32' && s.kind !== 'tpoff32')
    fc.assert(
      fc.property(fc.constantFrom(...long), fc.nat(), fc.integer({ min: 1, max: 255 }), ({ kind, object, field }, where, flip) => {
        const original = bytes(object)
        const fixed = [...original.keys()].filter((i) => original[i] !== 0)
        // One byte of the instructions is another.
        const content = original.slice()
        content[fixed[where % fixed.length] as number] = (content[fixed[where % fixed.length] as number] as number) ^ flip
        fc.pre(!SEQUENCES.some((s) => hex(bytes(s.object)) === hex(content)))
        // Another register is as good.
        fc.pre(kind !== 'tlsdesc32' || !/^4[8c]8d([0123][5d])/.test(hex(content)))
        const before = content.slice()
        const known = callOf(kind, content, field) !== undefined
        if (kind === 'tlsgd32' || kind === 'tlsld32') expect(toLocalExec(kind, content, field, 0)).toBe(known)
        else expect(toLocalExec(kind, content, field, 0)).toBe(false)
        if (!known) expect(content).toEqual(before)
      }),
    )
  })

  it('linked code tells distances of local exec alone', () => {
    expect(agrees('tpoff32', bytes('f8ffffff'), -8)).toBe(true)
    expect(agrees('tpoff32', bytes('f8ffffff'), -16)).toBe(false)
    expect(agrees('dtpoff32', bytes('f8ffffff'), -8)).toBeUndefined()
  })
})
