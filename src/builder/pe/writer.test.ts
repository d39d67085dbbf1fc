import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readBaseRelocations, readExports, readLoadConfig, readRuntimeFunctions } from '../../binary/pe/directories.ts'
import { readImageSymbols, readPe } from '../../binary/pe/reader.ts'
import { readUnwindInfo } from '../../binary/pe/unwind-x64.ts'
import { viewOf } from '../../binary/struct.ts'
import { EDGE_KINDS } from '../../machine/edges.ts'
import { placeImage } from '../../patch/place.ts'
import { readPatchImage } from '../../patch/read.ts'
import { buildPatch } from '../build.ts'
import type { Block } from '../graph.ts'
import { readPeBase } from './base.ts'
import { graphFromCoff } from './graph.ts'

const FIXTURES = join(import.meta.dirname, 'fixtures')
const BEFORE = join(import.meta.dirname, '../../binary/coff/fixtures/mingw-gcc12.o')
const AFTER = join(FIXTURES, 'mingw-gcc12-after.o')
const BASE = join(FIXTURES, 'ld-gcc12.dll')

const build = (): Uint8Array => {
  const naming = { id: 'fix-1', sequence: 3, description: 'a fix', cves: ['CVE-2026-0001'] }
  const outcome = buildPatch({ before: BEFORE, after: AFTER, base: BASE, ...naming })
  if (outcome.outcome !== 'built') throw new Error('nothing was built')
  return outcome.image
}

const file = build()
const image = readPe(file)
const base = readPeBase(new Uint8Array(readFileSync(BASE)), BASE)

describe('a patch image for PE', () => {
  it('is the same every time', () => {
    expect(Buffer.compare(build(), file)).toBe(0)
  })

  it('has sections that are never writable and executable at once', () => {
    expect(image.sections.slice(0, 7).map((s) => s.name)).toEqual(['.text', '.rdata', '.data', '.pdata', '.reloc', '.hpmeta', '.hpsig'])
    expect(readPatchImage(file).segments.map((s) => s.protection)).toEqual(['r', 'rx', 'r', 'rw', 'r'])
  })

  it('announces the hot patch table and says what it holds', () => {
    expect(readLoadConfig(image)).toMatchObject({ Size: 0x148, SecurityCookie: 0n })
    const patch = readPatchImage(file)
    expect(patch.table).toMatchObject({ sequenceNumber: 3, bases: [{ originalTimeDateStamp: base.identity.timeDateStamp }] })
    expect(patch.manifest).toMatchObject({ id: 'fix-1', sequence: 3, cves: ['CVE-2026-0001'], base: { name: 'ld-gcc12.dll' } })
    expect(patch.manifest.functions.map((f) => f.name)).toEqual(['add', 'sw'])
    for (const f of patch.manifest.functions)
      expect(base.symbols).toContainEqual(expect.objectContaining({ name: f.name, rva: f.rva, size: f.size }))
  })

  it('exports what it patches, under the base image’s name', () => {
    expect(readExports(image)).toMatchObject({ name: 'ld-gcc12_hotpatch.dll', exports: [{ name: 'add' }, { name: 'sw' }] })
  })

  it('has the functions as symbols', () => {
    const names = readImageSymbols(image).map((s) => s.name)
    for (const name of ['add', 'sw', 'brand_new', 'blank', 'fresh', 'choices']) expect(names).toContain(name)
  })

  it('has unwind information for each function, by ascending address', () => {
    const records = readRuntimeFunctions(image)
    const begins = records.map((r) => r.BeginAddress)
    expect(begins).toEqual([...begins].sort((a, b) => a - b))
    const functions = readPatchImage(file).manifest.functions
    for (const f of functions) {
      const record = records.find((r) => r.BeginAddress === f.patchRva)
      expect(record?.EndAddress, f.name).toBe(f.patchRva + f.patchSize)
      expect(readUnwindInfo(image.read, record?.UnwindData ?? 0).version).toBe(1)
    }
  })

  it('has nothing in the file for data that begins as zero', () => {
    expect(image.sections.find((s) => s.name === '.data')).toMatchObject({ size: 400, fileSize: 0 })
  })

  it('refers, once it is placed, to what its functions refer to', () => {
    const patch = readPatchImage(file)
    const [entry] = patch.table.bases
    if (entry === undefined) throw new Error('no base in the table')
    const baseAddress = 0x7ff612340000n
    const imageAddress = 0x7ff612380000n
    const read = () => new Uint8Array(8)
    const memory = new Uint8Array(patch.imageSize)
    for (const segment of placeImage(patch, entry, { imageAddress, baseAddress, read, imports: new Map() }))
      memory.set(segment.content, segment.rva)
    const view = viewOf(memory)

    const graph = graphFromCoff(new Uint8Array(readFileSync(AFTER)), 'after.o')
    const places = new Map<Block, number>()
    for (const f of patch.manifest.functions) {
      const block = graph.blocks.find((b) => b.name === f.name)
      if (block === undefined) throw new Error(`no block ${f.name}`)
      places.set(block, f.patchRva)
    }
    const reached = { patch: new Set<string>(), base: new Set<string>() }
    const queue = [...places.keys()]
    for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
      const rva = places.get(block) as number
      const bytes = memory.slice(rva, rva + block.size)
      for (const edge of block.edges) bytes.fill(0, edge.offset, edge.offset + edge.size)
      expect(bytes, block.name).toEqual(block.content ?? new Uint8Array(block.size))
      for (const edge of block.edges) {
        const at = rva + edge.offset
        const value = edge.size === 8 ? view.getBigInt64(at, true) : BigInt(view.getInt32(at, true))
        const target = value - BigInt(edge.addend) + (EDGE_KINDS[edge.kind].pcRelative ? imageAddress + BigInt(at) : 0n)
        if (target >= imageAddress && target < imageAddress + BigInt(patch.imageSize)) {
          reached.patch.add(edge.target.name)
          const owner = edge.target.block
          if (owner === undefined) throw new Error(`${edge.target.name} lies in no object, but in the patch image`)
          const start = Number(target - imageAddress) - edge.target.offset
          expect(places.get(owner) ?? start, edge.target.name).toBe(start)
          if (!places.has(owner)) {
            places.set(owner, start)
            queue.push(owner)
          }
        } else {
          reached.base.add(edge.target.name)
          const names = base.symbols.filter((s) => BigInt(s.rva) === target - baseAddress).map((s) => s.name)
          expect(names, `${edge.target.name} in the base image`).toContain(edge.target.name)
        }
      }
    }
    for (const name of ['brand_new', 'choices', 'blank', 'fresh', 'sw']) expect(reached.patch, name).toContain(name)
    for (const name of ['other', 'counter', 'table', 'zero', 'weakfn', 'puts']) expect(reached.base, name).toContain(name)
  })

  it('has a base relocation for each pointer into itself', () => {
    const relocations = readBaseRelocations(image)
    expect(relocations.length).toBe(1)
    const pointer = viewOf(image.read(relocations[0]?.rva ?? 0, 8)).getBigUint64(0, true)
    const brandNew = readImageSymbols(image).find((s) => s.name === 'brand_new')
    expect(pointer).toBe(image.optionalHeader.ImageBase + BigInt((image.sections[0]?.rva ?? 0) + (brandNew?.value ?? 0)))
  })
})
