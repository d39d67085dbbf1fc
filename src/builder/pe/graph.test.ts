import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readRuntimeFunctions } from '../../binary/pe/directories.ts'
import { readPe } from '../../binary/pe/reader.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { EDGE_KINDS } from '../../machine/edges.ts'
import type { BaseImage } from '../base-image.ts'
import type { Block, Edge, LinkGraph } from '../graph.ts'
import { readPeBase } from './base.ts'
import { graphFromCoff } from './graph.ts'

const OBJECTS = join(import.meta.dirname, '../../binary/coff/fixtures')
const IMAGES = join(import.meta.dirname, 'fixtures')
const graphOf = (name: string): LinkGraph => graphFromCoff(new Uint8Array(readFileSync(join(OBJECTS, name))), name)
const imageOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(IMAGES, name)))
const blockOf = (graph: LinkGraph, name: string): Block => {
  const block = graph.blocks.find((b) => b.name === name)
  if (block === undefined) throw new Error(`no block ${name} among ${graph.blocks.map((b) => b.name).join(', ')}`)
  return block
}
const describeEdges = (block: Block): string[] =>
  block.edges.map((e) => `${e.offset} ${e.kind} ${e.target.name}${e.addend < 0 ? '' : '+'}${e.addend}`)

/**
 * Lays the blocks of a graph over an image that a linker made from the same object: each field must hold what its edge says, each block must hold
 * its bytes, and no block may lie in two places. Answers where the blocks lie.
 */
function overlay(base: BaseImage, start: ReadonlyMap<Block, number>): Map<Block, number> {
  const places = new Map(start)
  const queue = [...start.keys()]
  const symbolRvas = new Map<string, Set<number>>()
  for (const symbol of base.symbols) symbolRvas.set(symbol.name, (symbolRvas.get(symbol.name) ?? new Set()).add(symbol.rva))

  const follow = (edge: Edge, at: number): void => {
    const field = base.bytes(at, edge.size)
    if (field === undefined) throw new Error(`no bytes at ${at}`)
    const value = edge.size === 8 ? Number(viewOf(field).getBigInt64(0, true) - base.preferredBase) : viewOf(field).getInt32(0, true)
    const target = value - edge.addend + (EDGE_KINDS[edge.kind].pcRelative ? at : 0)
    if (edge.target.block === undefined) {
      // An undefined weak symbol is 0, wherever the image lies.
      if (edge.target.binding !== 'weak' && symbolRvas.has(edge.target.name))
        expect([...(symbolRvas.get(edge.target.name) ?? [])], edge.target.name).toContain(target)
      return
    }
    const rva = target - edge.target.offset
    const known = places.get(edge.target.block)
    if (known === undefined) {
      places.set(edge.target.block, rva)
      queue.push(edge.target.block)
    } else expect(rva, `${edge.target.block.name} through the field at 0x${at.toString(16)}`).toBe(known)
  }

  for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
    const rva = places.get(block) as number
    if (block.content === undefined) continue
    const bytes = base.bytes(rva, block.size)
    if (bytes === undefined) throw new Error(`${block.name} has no bytes at ${rva}`)
    const masked = bytes.slice()
    for (const edge of block.edges) masked.fill(0, edge.offset, edge.offset + edge.size)
    expect(masked, block.name).toEqual(block.content)
    for (const edge of block.edges) follow(edge, rva + edge.offset)
  }
  return places
}

/** Functions that are found by name, and the .pdata records that begin with them. */
function anchors(graph: LinkGraph, base: BaseImage, file: Uint8Array, sourceFile: string | undefined): Map<Block, number> {
  const found = new Map<Block, number>()
  const image = readPe(file)
  const pdata = image.directories[3]?.VirtualAddress ?? 0
  const records = readRuntimeFunctions(image)
  for (const block of graph.blocks) {
    const symbol = block.symbols[0]
    if (block.kind !== 'code' || symbol === undefined) continue
    const rvas = base.symbols.filter(
      (s) => s.name === symbol.name && (s.binding !== 'local' || sourceFile === undefined || s.file === sourceFile),
    )
    if (symbol.binding === 'local' && sourceFile === undefined) continue
    const [at] = rvas
    if (at === undefined) continue
    found.set(block, at.rva)
    const index = records.findIndex((record) => record.BeginAddress === at.rva)
    const record = block.companions.find((companion) => companion.section.startsWith('.pdata'))
    expect(index >= 0, `${block.name} has a record`).toBe(record !== undefined)
    if (record !== undefined) found.set(record, pdata + index * 12)
  }
  return found
}

describe.each([
  ['mingw-gcc12.o', 'ld-gcc12.dll', 'sample.c'],
  ['mingw-gcc12.o', 'ld-mixed.dll', 'sample.c'],
  ['mingw-gcc12-bigobj.o', 'ld-gcc12.dll', 'sample.c'],
  ['clang19-mingw.o', 'ld-clang19.dll', 'sample.c'],
  ['clang19-mingw.o', 'lld19-mingw.dll', undefined],
  ['clang19-msvc.obj', 'lld19-msvc.dll', undefined],
])('%s in %s', (object, linked, sourceFile) => {
  it('has each field, block and distance where the linker has it', () => {
    const graph = graphOf(object)
    const file = imageOf(linked)
    const base = readPeBase(file, linked)
    const places = overlay(base, anchors(graph, base, file, sourceFile))
    const missed = graph.blocks.filter((block) => !places.has(block) && block.edges.length > 0)
    expect(missed.map((block) => block.name)).toEqual([])
    const functions = graph.blocks.filter((block) => block.kind === 'code')
    expect(functions.length).toBeGreaterThanOrEqual(6)
    for (const name of ['counter', 'table', 'zero']) expect(places.has(blockOf(graph, name)), name).toBe(true)
    const groups = new Map<string, number>()
    for (const [block, rva] of places) {
      if (block.group === undefined) continue
      const start = rva - (block.groupOffset ?? Number.NaN)
      expect(groups.get(block.group) ?? start, block.name).toBe(start)
      groups.set(block.group, start)
    }
  })
})

describe('the graph of an object of mingw gcc', () => {
  const graph = graphOf('mingw-gcc12.o')

  it('has addends that count from the field, whatever follows it in the instruction', () => {
    // movl $0x12345678, counter(%rip) has four bytes behind its field; so has cmpl $200000, zero+36(%rip).
    expect(describeEdges(blockOf(graph, 'immediates'))).toEqual(['4 pcrel32 zero+28', '14 pcrel32 counter-8', '24 pcrel32 zero+12'])
  })

  it('tells branches from other references', () => {
    const kinds = new Set(blockOf(graph, 'frame').edges.map((e) => `${e.target.name} ${e.kind}`))
    expect(kinds).toContain('add branch32')
    expect(kinds).toContain('names pcrel32')
    expect(describeEdges(blockOf(graph, 'sw.cold'))).toEqual([expect.stringMatching(/^\d+ branch32 sw\+/)])
  })

  it('cuts anonymous constants where they are referred to and keeps their distance', () => {
    const constants = graph.blocks.filter((b) => b.section === '.rdata')
    const strings = constants.filter((b) => b.constant === 'strings').map((b) => Buffer.from(b.content ?? []).toString())
    expect(strings.sort()).toEqual(['hello\0', 'one\0', 'three\0', 'two\0'])
    const tables = constants.filter((b) => b.edges.length > 0)
    expect(tables.map((b) => [b.size, b.group])).toEqual([[28, undefined]])
    expect(tables[0]?.edges.every((e) => e.target.name === 'sw')).toBe(true)
    for (const block of constants) expect(block.constant !== undefined || block.edges.length > 0).toBe(true)
  })

  it('sends unwind records along with their function', () => {
    expect(blockOf(graph, 'frame').companions.map((b) => b.section)).toEqual(['.pdata$frame', '.xdata$frame'])
  })

  it('knows weak symbols by their own name, defined and undefined ones', () => {
    expect(blockOf(graph, 'weakfn').symbols).toMatchObject([{ name: 'weakfn', binding: 'weak', kind: 'function' }])
    expect(graph.symbols.find((s) => s.name === 'maybe')).toMatchObject({ block: undefined, binding: 'weak' })
    expect(graph.symbols.filter((s) => s.name.startsWith('.weak.')).length).toBeLessThanOrEqual(1)
    expect(blockOf(graph, '.refptr.maybe')).toMatchObject({ kind: 'rodata', comdat: '.refptr.maybe' })
  })

  it('has sizes without the assembler’s padding', () => {
    expect(blockOf(graph, 'weakfn').size).toBe(4)
    expect(blockOf(graph, 'counter').size).toBe(4)
  })

  it('knows the source file', () => {
    expect(graph.sourceFile).toBe('sample.c')
    expect(graphOf('clang19-msvc.obj').sourceFile).toBe('sample.c')
  })
})

describe('the graph of an object without sections of their own', () => {
  const graph = graphOf('mingw-gcc12-plain.o')

  it('keeps functions together, whose calls have no relocation', () => {
    const functions = graph.blocks.filter((b) => b.section === '.text')
    expect(functions.length).toBeGreaterThan(4)
    expect(new Set(functions.map((b) => b.group)).size).toBe(1)
    expect(graph.notes).toEqual([expect.stringContaining('-ffunction-sections')])
  })

  it('cuts unwind tables into records', () => {
    const records = graph.blocks.filter((b) => b.section === '.pdata')
    expect(records.every((b) => b.size === 12 && b.edges.length === 3)).toBe(true)
    for (const record of records) expect(record.edges[0]?.target.block).toBe(record.edges[1]?.target.block)
  })

  it('has a variable that any object may declare', () => {
    expect(blockOf(graph, 'common')).toMatchObject({ kind: 'bss', size: 4, comdat: 'common', content: undefined })
  })
})

describe('every object', () => {
  const names = readdirSync(OBJECTS).filter((name) => /\.(o|obj)$/.test(name))

  it.each(names.filter((name) => !/import|arm64/.test(name)))('%s gives a sound graph', (name) => {
    const graph = graphOf(name)
    const known = new Set(graph.blocks)
    const symbols = new Set(graph.symbols)
    expect(known.size).toBe(graph.blocks.length)
    for (const block of graph.blocks) {
      expect(block.content?.length ?? block.size).toBe(block.size)
      let end = 0
      for (const edge of block.edges) {
        expect(edge.offset).toBeGreaterThanOrEqual(end)
        end = edge.offset + edge.size
        expect(end).toBeLessThanOrEqual(block.size)
        expect(block.content?.subarray(edge.offset, end).every((byte) => byte === 0)).toBe(true)
        expect(symbols.has(edge.target), edge.target.name).toBe(true)
      }
      for (const symbol of block.symbols) expect(symbol.block?.name).toBe(block.name)
      for (const companion of block.companions) expect(known.has(companion)).toBe(true)
    }
    for (const symbol of graph.symbols) if (symbol.block !== undefined) expect(known.has(symbol.block)).toBe(true)
  })

  it('says for which processor it is', () => {
    expect(graphOf('clang19-msvc.obj').machine).toBe('x64')
    const arm64 = graphOf('clang19-msvc-arm64.obj')
    expect(arm64.machine).toBe('arm64')
    const kinds = new Set(arm64.blocks.flatMap((block) => block.edges.map(({ kind }) => kind)))
    expect([...kinds].sort()).toEqual(expect.arrayContaining(['abs64', 'branch26', 'image32', 'page21', 'pageoff12']))
    const functions = arm64.blocks.filter(({ kind, companions }) => kind === 'code' && companions.length > 0)
    expect(functions.length).toBeGreaterThan(1)
    for (const { companions } of functions)
      expect(companions.every(({ size, section }) => size === 8 || section.startsWith('.xdata'))).toBe(true)
  })

  it('of an import library is empty', () => {
    expect(graphOf('llvm19-import.obj')).toMatchObject({ blocks: [], notes: ['an import of other from other.dll'] })
  })

  it('that is damaged gives a graph or fails with a code', () => {
    const originals = names.map((name) => new Uint8Array(readFileSync(join(OBJECTS, name))))
    const change = fc.record({ at: fc.nat(), value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), wide: fc.boolean() })
    fc.assert(
      fc.property(fc.nat(names.length - 1), fc.array(change, { minLength: 1, maxLength: 6 }), (which, changes) => {
        const data = (originals[which] as Uint8Array).slice()
        for (const { at, value, wide } of changes) data.fill(value, at % data.length, (at % data.length) + (wide ? 4 : 1))
        try {
          graphFromCoff(data, 'damaged')
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 400 },
    )
  })
})
