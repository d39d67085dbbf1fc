import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { framesOf } from '../../binary/dwarf/frames.ts'
import { HotpatchError } from '../../errors.ts'
import { ehFrameTable } from './eh-frame-table.ts'
import { FrameKind, frameTable, type WholeTable } from './frames.ts'

const folder = new URL('fixtures/', import.meta.url)
const names = readdirSync(folder).filter((name) => name.endsWith('.eh_frame'))
function open(name: string): { section: Uint8Array; address: bigint } {
  const data = new Uint8Array(readFileSync(new URL(name, folder)))
  return { section: data.slice(8), address: new DataView(data.buffer).getBigUint64(0, true) }
}

/** Rows as they are used: what is said of each place, with nothing of how it is stored. */
const rowsOf = ({ starts, kinds, operands, saved, savedSets, complex }: WholeTable) =>
  [...starts].map((start, i) => {
    const kind = kinds[i] as number
    const operand = operands[i] as number
    if (kind === FrameKind.complex) return { start, ...complex[operand] }
    // Where the stack ends, nobody asks what was saved.
    return { start, kind, operand, saved: kind === FrameKind.end ? [] : [...(savedSets[saved[i] as number] ?? [])] }
  })

type Row = { start: number; kind?: number }

/** The general way; undefined where it refuses the section as a whole. */
function generally(section: Uint8Array, address: bigint): WholeTable | undefined {
  try {
    return frameTable(framesOf(section, address, 0n))
  } catch (error) {
    if (error instanceof HotpatchError) return undefined
    throw error
  }
}

describe('.eh_frame compiled at once', () => {
  test.each(names)('%s: gives what the general way gives', (name) => {
    const { section, address } = open(name)
    const table = ehFrameTable(section, Number(address), 0)
    const rows = rowsOf(table)
    expect(rows.length).toBeGreaterThan(30)
    expect(rows).toEqual(rowsOf(frameTable(framesOf(section, address, 0n))))
  })

  test('the fixtures have rows of every kind that functions have', () => {
    const kinds = names.flatMap((name) => {
      const { section, address } = open(name)
      return [...ehFrameTable(section, Number(address), 0).kinds]
    })
    expect(new Set(kinds)).toEqual(new Set([FrameKind.none, FrameKind.rsp, FrameKind.rbp, FrameKind.complex]))
  })

  test('a section that is cut off anywhere gives the functions before that', () => {
    const { section, address } = open(names[0] as string)
    const whole = rowsOf(ehFrameTable(section, Number(address), 0))
    for (let length = 0; length < section.length; length += 3) {
      const rows = rowsOf(ehFrameTable(section.subarray(0, length), Number(address), 0))
      for (const row of rows) if ('kind' in row && row.kind !== FrameKind.none) expect(whole).toContainEqual(row)
    }
  })

  test('damaged sections: nothing but what the general way gives, never an error, never rows out of order', () => {
    const damage = fc.record({
      name: fc.constantFrom(...names),
      changes: fc.array(fc.record({ at: fc.nat(4000), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 }),
    })
    fc.assert(
      fc.property(damage, ({ name, changes }) => {
        const { section, address } = open(name)
        for (const { at, byte } of changes) section[at % section.length] = byte
        const table = ehFrameTable(section, Number(address), 0)
        for (let i = 1; i < table.starts.length; i++) expect(table.starts[i]).toBeGreaterThan(table.starts[i - 1] as number)
        const expected = generally(section, address)
        if (expected === undefined) return
        const [ours, theirs] = [rowsOf(table), rowsOf(expected)]
        for (const at of [...table.starts, ...expected.starts]) {
          const [{ start: _, ...our }, { start: __, ...their }] = [ours[table.rowAt(at)] as Row, theirs[expected.rowAt(at)] as Row]
          if (our.kind !== FrameKind.none) expect(our).toEqual(their)
        }
      }),
      { numRuns: 400 },
    )
  })
})

test('rowAt finds the row that holds an RVA', () => {
  const { section, address } = open(names[0] as string)
  const table = ehFrameTable(section, Number(address), 0)
  for (let i = 0; i < table.starts.length; i++) {
    const [start, end] = [table.starts[i] as number, table.starts[i + 1]]
    expect(table.rowAt(start)).toBe(i)
    if (end !== undefined) expect(table.rowAt(end - 1)).toBe(i)
  }
})
