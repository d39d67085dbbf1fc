import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { framesOf } from '../../binary/dwarf/frames.ts'
import { HotpatchError } from '../../errors.ts'
import { EhRecords } from './eh-frame-records.ts'
import { ehFrameTable } from './eh-frame-table.ts'
import { FrameKind, frameTable, type WholeTable } from './frames.ts'
import { saying } from './testing/saying.ts'

const folder = new URL('fixtures/', import.meta.url)
const names = readdirSync(folder).filter((name) => name.endsWith('.eh_frame'))
function open(name: string): { section: Uint8Array; address: bigint } {
  const data = new Uint8Array(readFileSync(new URL(name, folder)))
  return { section: data.slice(8), address: new DataView(data.buffer).getBigUint64(0, true) }
}

/** The general way; undefined where it refuses the section as a whole. */
function generally(section: Uint8Array, address: bigint): WholeTable | undefined {
  try {
    return frameTable(framesOf(section, address, 0n))
  } catch (error) {
    if (error instanceof HotpatchError) return undefined
    throw error
  }
}

describe('.eh_frame compiled by need', () => {
  test.each(names)('%s: says what the general way says, wherever it is asked first', (name) => {
    const { section, address } = open(name)
    const expected = frameTable(framesOf(section, address, 0n))
    expect(expected.starts.length).toBeGreaterThan(30)
    const places = edgesOf(expected)
    for (const order of [places, [...places].reverse()]) {
      const table = ehFrameTable(section, Number(address), 0)
      for (const at of order) expect(saying(table, at)).toEqual(saying(expected, at))
    }
  })

  test('the fixtures have rows of every kind that functions have', () => {
    const kinds = names.flatMap((name) => {
      const { section, address } = open(name)
      const table = ehFrameTable(section, Number(address), 0)
      return edgesOf(frameTable(framesOf(section, address, 0n))).map((at) => table.kinds[table.rowAt(at)])
    })
    expect(new Set(kinds)).toEqual(new Set([FrameKind.none, FrameKind.rsp, FrameKind.rbp, FrameKind.complex]))
  })

  test('a section that is cut off anywhere says of the functions before that what it said', () => {
    const { section, address } = open(names[0] as string)
    const whole = ehFrameTable(section, Number(address), 0)
    const places = edgesOf(frameTable(framesOf(section, address, 0n)))
    for (let length = 0; length < section.length; length += 3) {
      const table = ehFrameTable(section.subarray(0, length), Number(address), 0)
      for (const at of places) {
        const said = saying(table, at)
        if (said !== undefined) expect(said).toEqual(saying(whole, at))
      }
    }
  })

  test('damaged sections: nothing but what the general way gives, never an error', () => {
    const damage = fc.record({
      name: fc.constantFrom(...names),
      changes: fc.array(fc.record({ at: fc.nat(4000), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 }),
    })
    fc.assert(
      fc.property(damage, ({ name, changes }) => {
        const { section, address } = open(name)
        const places = edgesOf(frameTable(framesOf(section, address, 0n)))
        for (const { at, byte } of changes) section[at % section.length] = byte
        const table = ehFrameTable(section, Number(address), 0)
        const expected = generally(section, address)
        for (const at of expected === undefined ? places : edgesOf(expected)) {
          const said = saying(table, at)
          if (expected !== undefined && said !== undefined) expect(said).toEqual(saying(expected, at))
        }
      }),
      { numRuns: 400 },
    )
  })

  test('functions that overlap, in any order: the one that begins later has the place, and is asked for once', () => {
    const functions = fc.array(fc.record({ begin: fc.integer({ min: 1, max: 60 }), size: fc.integer({ min: 1, max: 20 }) }), {
      maxLength: 12,
    })
    fc.assert(
      fc.property(functions, (all) => {
        const section = sectionOf(all)
        const records = new EhRecords(section, 0x10000, 0)
        for (let rva = 0; rva < 90; rva++) {
          const covering = all.filter(({ begin }) => begin <= rva)
          const latest = Math.max(-1, ...covering.map(({ begin }) => begin))
          const wanted = covering.filter(({ begin }) => begin === latest).at(-1)
          const index = records.indexAt(rva)
          if (wanted === undefined || rva >= wanted.begin + wanted.size) expect(index).toBe(-1)
          else expect(records.at(index)).toMatchObject(wanted)
        }
      }),
    )
  })
})

/** The first and the last place that each row is for. */
const edgesOf = ({ starts }: WholeTable): number[] => [...starts].flatMap((start, i) => [start, (starts[i + 1] ?? start + 1) - 1])

/** A section whose FDEs have absolute begins of 4 bytes (DW_EH_PE_udata4) and no instructions of their own. */
function sectionOf(functions: readonly { begin: number; size: number }[]): Uint8Array {
  // "zR", code alignment 1, data alignment -8, return address 16, udata4; CFA = rsp + 8, return address at CFA - 8.
  const cie = [...[0, 0, 0, 0], 1, 0x7a, 0x52, 0, 1, 0x78, 16, 1, 3, 0x0c, 7, 8, 0x90, 1, 0, 0]
  const word = (value: number): number[] => [...new Uint8Array(new Uint32Array([value]).buffer)]
  const bytes = [...word(cie.length), ...cie]
  for (const { begin, size } of functions) bytes.push(...word(16), ...word(bytes.length + 4), ...word(begin), ...word(size), 0, 0, 0, 0)
  return Uint8Array.from(bytes)
}
