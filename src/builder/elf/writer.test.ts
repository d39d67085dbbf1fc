import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type EhFde, readEhFrame } from '../../binary/dwarf/eh-frame.ts'
import { readEhFrameHdr } from '../../binary/dwarf/eh-frame-hdr.ts'
import { pointerAddress } from '../../binary/dwarf/pointers.ts'
import { PF, PT, R_X86_64, STT } from '../../binary/elf/definitions.ts'
import { readElf } from '../../binary/elf/reader.ts'
import { viewOf } from '../../binary/struct.ts'
import { readPatchImage } from '../../patch/read.ts'
import { buildPatch } from '../build.ts'
import { readElfBase } from './base.ts'

const path = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url))

function build(compiler: string): Uint8Array {
  const outcome = buildPatch({
    before: path(`${compiler}-before.o`),
    after: path(`${compiler}-after.o`),
    base: path(`${compiler}-base`),
    sequence: 3,
    id: 'sample-3',
    description: 'a sample',
    cves: [],
  })
  if (outcome.outcome !== 'built') throw new Error('nothing was built')
  return outcome.image
}

describe.each(['g++-12', 'clang++-19'])('a patch image made of objects of %s', (compiler) => {
  const file = build(compiler)
  const elf = readElf(file)
  const section = (name: string) => {
    const found = elf.sections.find((s) => s.name === name)
    if (!found) throw new Error(`no section ${name}`)
    return found
  }
  const symbol = (name: string) => elf.symbols().find((s) => s.name === name)

  test('is the same every time', () => {
    expect(Buffer.from(build(compiler))).toEqual(Buffer.from(file))
  })

  test('passes the validation of patch images, and names its table', () => {
    const image = readPatchImage(file)
    expect(image.manifest.id).toBe('sample-3')
    expect(image.table.sequenceNumber).toBe(3)
    expect(image.manifest.functions.map((f) => f.name)).toEqual(['pick'])
    const note = elf.notes().find((n) => n.name === 'hotpatch')
    expect(viewOf(note?.descriptor ?? new Uint8Array(8)).getUint32(0, true)).toBe(Number(section('.hotpatch').addr))
  })

  test('segments share no page, and none is writable and executable', () => {
    const loads = elf.segments.filter((s) => s.type === PT.LOAD)
    let end = 0n
    for (const { vaddr, memsz, flags, offset } of loads) {
      expect(Number(vaddr) % 0x1000).toBe(0)
      expect(offset % 0x1000).toBe(0)
      expect(vaddr).toBeGreaterThanOrEqual(end)
      end = ((vaddr + BigInt(memsz) + 0xfffn) / 0x1000n) * 0x1000n
      expect(flags & (PF.W | PF.X)).not.toBe(PF.W | PF.X)
    }
    expect(loads.length).toBe(4)
  })

  test('pointers into the image itself are relative relocations in what becomes read-only', () => {
    const { ordinary } = elf.dynamicRelocations()
    const relro = elf.segments.find((s) => s.type === PT.GNU_RELRO)
    for (const r of ordinary) {
      expect(r.type).toBe(R_X86_64.RELATIVE)
      expect(r.offset).toBeGreaterThanOrEqual(Number(relro?.vaddr))
      expect(r.offset).toBeLessThan(Number(relro?.vaddr) + (relro?.memsz ?? 0))
    }
    const targets = new Set(ordinary.map((r) => r.addend))
    for (const name of ['added', 'added_too']) {
      // A compiler that sees all users may have turned the table into something else.
      if (symbol('functions')) expect(targets).toContain(Number(symbol(name)?.value))
    }
  })

  test('every function has a name, an FDE, and an entry in the search table', () => {
    const header = section('.eh_frame_hdr')
    const frame = section('.eh_frame')
    const records = readEhFrame(frame.data() ?? new Uint8Array(0))
    const fdes = records.filter((r): r is EhFde => r.kind === 'fde')
    const described = fdes.map((fde) => [pointerAddress(fde.begin, frame.addr), fde.range])
    for (const s of elf.symbols().filter((x) => x.type === STT.FUNC)) expect(described).toContainEqual([s.value, BigInt(s.size)])
    const entries = readEhFrameHdr(header.data() ?? new Uint8Array(0), Number(header.addr))
    expect(entries).toEqual(
      fdes
        .map((fde) => ({ code: Number(pointerAddress(fde.begin, frame.addr)), fde: Number(frame.addr) + fde.offset }))
        .sort((a, b) => a.code - b.code),
    )
    const cies = records.filter((r) => r.kind === 'cie')
    expect(new Set(cies.map((c) => c.augmentation)).size).toBe(cies.length)
    const covered = records.reduce((sum, r) => sum + r.size, 0)
    expect(frame.size).toBe(covered + 4)
  })

  test('exception tables lead to code of the image', () => {
    const frame = section('.eh_frame')
    const table = section('.gcc_except_table')
    const withTable = readEhFrame(frame.data() ?? new Uint8Array(0)).filter((r): r is EhFde => r.kind === 'fde' && r.lsda !== undefined)
    expect(withTable.length).toBeGreaterThan(0)
    for (const { lsda } of withTable) {
      const address = lsda && pointerAddress(lsda, frame.addr)
      if (address === undefined) continue
      expect(address).toBeGreaterThanOrEqual(table.addr)
      expect(address).toBeLessThan(table.addr + BigInt(table.size))
    }
  })

  test('reaches what did not change in the base image', () => {
    const base = readElfBase(new Uint8Array(readFileSync(path(`${compiler}-base`))), 'base')
    const { table } = readPatchImage(file)
    const records = table.bases[0]?.chunks.filter((c) => c.inverse).flatMap((c) => c.records.map((r) => ({ ...r, type: c.type }))) ?? []
    const rva = (name: string) => base.symbols.find((s) => s.name === name || s.name === `_ZL${name.length}${name}`)?.rva ?? -1
    const targets = records.map((r) => r.target)
    expect(targets).toContain(rva('checked'))
    const pick = table.bases[0]?.chunks.find((c) => c.type === 'FUNCTION')?.records[0]
    expect(pick?.source).toBe(rva('pick'))
    expect(pick?.target).toBe(Number(symbol('pick')?.value))
  })
})
