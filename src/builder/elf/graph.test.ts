import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { EDGE_KINDS } from '../../machine/edges.ts'
import type { Block, GraphSymbol, LinkGraph } from '../graph.ts'
import { readElfBase } from './base.ts'
import { graphFromElf } from './graph.ts'

const folder = new URL('../../binary/elf/fixtures/', import.meta.url)
const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))
const objects = readdirSync(folder).filter((name) => name.endsWith('.o'))
const graphOf = (name: string): LinkGraph => graphFromElf(fixture(name), name)

const blockNamed = (graph: LinkGraph, name: string): Block => {
  const found = graph.blocks.find((b) => b.name === name)
  if (!found) throw new Error(`no block ${name} among ${graph.blocks.map((b) => b.name).join(' ')}`)
  return found
}

describe.each(objects)('%s', (name) => {
  test('every block is consistent', () => {
    const graph = graphOf(name)
    for (const block of graph.blocks) {
      expect(block.content?.length ?? block.size).toBe(block.size)
      let end = 0
      for (const edge of block.edges) {
        expect(edge.offset).toBeGreaterThanOrEqual(end)
        end = edge.offset + edge.size
        expect(edge.size).toBe(EDGE_KINDS[edge.kind].size)
        expect(block.content?.subarray(edge.offset, end).every((b) => b === 0)).toBe(true)
        if (edge.target.block) expect(graph.blocks).toContain(edge.target.block)
      }
      expect(end).toBeLessThanOrEqual(block.size)
      for (const symbol of block.symbols) {
        expect(symbol.block).toBe(block)
        expect(graph.symbols).toContain(symbol)
        expect(symbol.offset).toBeLessThanOrEqual(block.size)
      }
    }
  })

  test('every function is a block of its own with its unwind data, unless a note says otherwise', () => {
    const graph = graphOf(name)
    const together = graph.notes.some((note) => note.includes('cannot be told apart'))
    const functions = graph.symbols.filter((s) => s.kind === 'function' && s.block)
    expect(functions.length).toBeGreaterThan(2)
    for (const { block } of functions) {
      const distinct = new Set(block?.symbols.filter((s) => s.kind === 'function').map((s) => s.offset))
      if (!together) expect(distinct.size).toBe(1)
      expect(block?.companions.length).toBe(distinct.size)
      for (const fde of block?.companions ?? []) expect(fde.edges.find((e) => e.kind === 'cie32')?.target.block?.kind).toBe('unwind')
    }
  })
})

/**
 * The linker as the oracle: what it wrote into each field of a function must be what the graph's edge says, and lead to bytes equal
 * to the block that the graph says it leads to.
 */
describe.each([
  ['gcc-12-sections.o', 'gcc-12-bfd-pie'],
  ['gcc-12-nopie-sections.o', 'gcc-12-bfd-nopie'],
  ['gcc-12-plain.o', 'gcc-12-bfd-plain-pie'],
  ['clang-19-sections.o', 'clang-19-lld-pie'],
  ['clang-19-plain.o', 'clang-19-lld-plain-pie'],
])('%s as linked into %s', (object, image) => {
  const graph = graphOf(object)
  const base = readElfBase(fixture(image), image)
  const rvaOfSymbol = new Map(base.symbols.map((s) => [s.name, s.rva]))
  const placeOf = (block: Block): number | undefined => {
    for (const symbol of block.symbols) {
      const rva = symbol.kind === 'section' ? undefined : rvaOfSymbol.get(symbol.name)
      if (rva !== undefined && !symbol.name.startsWith('.L')) return rva - symbol.offset
    }
    return undefined
  }
  const valueIn = (rva: number, size: number): number | undefined => {
    const bytes = base.bytes(rva, size)
    return bytes && (size === 8 ? Number(viewOf(bytes).getBigInt64(0, true)) : viewOf(bytes).getInt32(0, true))
  }
  const isPlt = (target: GraphSymbol): boolean => target.block === undefined

  test('fields hold S + A, S + A - P', () => {
    let checked = 0
    let constants = 0
    // Anonymous tables are placed by the functions that refer to them.
    const places = new Map<Block, number>()
    for (const block of graph.blocks) {
      const place = placeOf(block)
      if (place !== undefined && block.kind !== 'tls') places.set(block, place)
    }
    expect(places.size).toBeGreaterThan(7)
    for (const [block, place] of places) {
      if (block.kind === 'bss') continue
      for (const edge of block.edges) {
        const p = place + edge.offset
        const relative = edge.kind === 'pcrel32' || edge.kind === 'branch32'
        const absolute = edge.kind === 'abs32' || edge.kind === 'abs32s' || edge.kind === 'abs64'
        if (isPlt(edge.target) || !(relative || absolute) || base.isRelocated(p)) continue
        const value = valueIn(p, edge.size)
        if (value === undefined) throw new Error(`${block.name}+${edge.offset} is not in the image`)
        const s = relative ? value + p - edge.addend : value - Number(base.preferredBase) - edge.addend
        const target = edge.target.block as Block
        const targetPlace = s - edge.target.offset
        const known = places.get(target)
        if (known !== undefined) {
          expect(`${block.name}+${edge.offset} to ${target.name} at ${targetPlace}`).toBe(
            `${block.name}+${edge.offset} to ${target.name} at ${known}`,
          )
          checked++
        }
        if (target.content && target.edges.length === 0) {
          expect(Buffer.from(base.bytes(targetPlace, target.size) ?? [])).toEqual(Buffer.from(target.content))
          constants++
        }
      }
    }
    expect(checked).toBeGreaterThan(5)
    expect(constants).toBeGreaterThan(2)
  })
})

test('immediates behind a displacement do not shift the target to a neighbour', () => {
  // `cmpl $1, counter(%rip)` and `movl $imm32, counter(%rip)`: addends -5 and -8 to the section's symbol.
  for (const name of ['gcc-12-plain.o', 'gcc-12-sections.o', 'clang-19-sections.o', 'clang-19-plain.o']) {
    const graph = graphOf(name)
    const counter = blockNamed(graph, 'counter')
    const edges = graph.blocks.flatMap((b) => b.edges).filter((e) => e.target.block === counter)
    expect(edges.map((e) => e.addend)).toEqual(expect.arrayContaining([-4, -5, -8]))
    expect(edges.every((e) => e.target.name === 'counter')).toBe(true)
  }
})

test('jump tables are blocks whose entries lead into their function', () => {
  for (const name of objects.filter((o) => !o.includes('cxx') && !o.includes('nopie'))) {
    const graph = graphOf(name)
    const pick = graph.symbols.find((s) => s.name === 'pick')?.block
    const tables = graph.blocks.filter((b) => b.kind === 'rodata' && b.edges.length >= 6 && b.edges.every((e) => e.target.block === pick))
    expect(tables.length).toBe(1)
    expect(pick?.edges.some((e) => e.target.block === tables[0] && e.kind === 'pcrel32')).toBe(true)
  }
})

test('string literals are one block each', () => {
  for (const name of objects.filter((o) => !o.includes('cxx'))) {
    const texts = graphOf(name)
      .blocks.filter((b) => b.constant === 'strings')
      .map((b) => Buffer.from(b.content ?? []).toString())
    expect(texts).toEqual(expect.arrayContaining(['three\0', 'alpha\0', 'beta\0', 'gamma\0', 'a string with a beta\0']))
  }
})

test('calls that the assembler settled itself become decoded edges when functions of one section are parted', () => {
  const graph = graphOf('gcc-12-plain.o')
  const decoded = graph.blocks.flatMap((b) =>
    b.edges.filter((e) => e.origin === 'decoded').map((e) => `${b.name} ${e.kind} ${e.target.name}`),
  )
  expect(decoded).toEqual(['pick branch32 helper'])
})

test('a short jump between functions keeps them together, and says so', () => {
  const graph = graphOf('clang-19-plain.o')
  expect(graph.notes).toEqual(['the functions of section .text cannot be told apart: compile with -ffunction-sections'])
})

test.each(['gcc-12-padded.o', 'gcc-12-plain-padded.o'])('the pad before a patchable function travels with it: %s', (name) => {
  const graph = graphOf(name)
  for (const symbol of graph.symbols.filter((s) => s.kind === 'function' && s.block)) {
    expect(symbol.offset).toBe(16)
    expect(symbol.block?.content?.subarray(0, 18).every((b) => b === 0x90)).toBe(true)
  }
  expect(graph.blocks.some((b) => b.section === '__patchable_function_entries')).toBe(false)
})

test.each(['gcc-12-cxx.o', 'clang-19-cxx.o'])('exceptions and COMDAT: %s', (name) => {
  const graph = graphOf(name)
  const caught = blockNamed(graph, '_Z6caughti')
  const [fde] = caught.companions
  const lsda = fde?.edges.map((e) => e.target.block).find((b) => b?.section.startsWith('.gcc_except_table'))
  expect(lsda?.kind).toBe('rodata')
  const cie = fde?.edges.find((e) => e.kind === 'cie32')?.target.block
  expect(cie?.edges.some((e) => e.target.name.includes('__gxx_personality_v0'))).toBe(true)
  expect(blockNamed(graph, '_Z5twiceIiET_S0_').comdat).toBe('_Z5twiceIiET_S0_')
})

test('thread-local kinds', () => {
  const kinds = (name: string) => new Set(graphOf(name).blocks.flatMap((b) => b.edges.map((e) => e.kind)))
  expect([...kinds('gcc-12-sections.o')]).toEqual(expect.arrayContaining(['tpoff32']))
  expect([...kinds('gcc-12-plain.o')]).toEqual(expect.arrayContaining(['tlsgd32', 'tlsld32', 'dtpoff32', 'gotpcrel32']))
})

test('an empty section counts where something refers to it', () => {
  const data = new Uint8Array(readFileSync(new URL('fixtures/gcc-12-empty.o', import.meta.url)))
  const graph = graphFromElf(data, 'gcc-12-empty.o')
  const [edge] = blockNamed(graph, 'first').edges
  expect(edge?.target.block).toMatchObject({ section: '.bss', size: 0 })
  expect(graph.blocks.map((b) => b.section)).not.toContain('.data')
})

test('what is no object is refused', () => {
  expect(() => graphOf('gcc-12-bfd.so')).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }))
})

describe('damaged objects are read or refused', () => {
  test.each(objects)('%s', (name) => {
    const original = fixture(name)
    const change = fc.tuple(fc.nat(original.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
        const data = original.slice()
        for (const [at, value] of changes) data[at] = value
        try {
          graphFromElf(data, name)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 100 },
    )
  })
})
