import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { readElf } from '../elf/reader.ts'
import { type EhFde, readEhFrame } from './eh-frame.ts'
import { encodeEhFrameHdr, readEhFrameHdr } from './eh-frame-hdr.ts'
import { pointerAddress } from './pointers.ts'

const folder = new URL('../elf/fixtures/', import.meta.url)
const open = (name: string) => readElf(new Uint8Array(readFileSync(new URL(name, folder))))
const files = readdirSync(folder).filter((name) => /\.(o|so)$|pie$/.test(name))
const images = ['gcc-12-bfd-pie', 'gcc-12-bfd-nopie', 'clang-19-lld-pie']

const sectionOf = (file: string, name: string) => {
  const section = open(file).sections.find((s) => s.name === name)
  return { data: section?.data() ?? new Uint8Array(0), address: section?.addr ?? 0n }
}

test.each(images)('%s: FDEs describe the functions of the symbol table', (name) => {
  const { data, address } = sectionOf(name, '.eh_frame')
  const functions = new Map(
    open(name)
      .symbols()
      .filter((s) => s.type === 2 && s.place === 'section')
      .map((s) => [s.value, BigInt(s.size)]),
  )
  const fdes = readEhFrame(data).filter((r): r is EhFde => r.kind === 'fde')
  const described = fdes.filter((fde) => functions.has(pointerAddress(fde.begin, address) ?? 0n))
  expect(described.length).toBeGreaterThan(5)
  for (const fde of described) expect(functions.get(pointerAddress(fde.begin, address) as bigint)).toBe(fde.range)
})

test.each(images)("%s: the linker's .eh_frame_hdr is what we would write", (name) => {
  const header = sectionOf(name, '.eh_frame_hdr')
  const frame = sectionOf(name, '.eh_frame')
  const entries = readEhFrameHdr(header.data, Number(header.address))
  expect(entries?.length).toBeGreaterThan(5)
  const ours = encodeEhFrameHdr(Number(header.address), Number(frame.address), [...(entries ?? [])].reverse())
  expect(Buffer.from(ours)).toEqual(Buffer.from(header.data))
  const fdes = readEhFrame(frame.data).filter((r): r is EhFde => r.kind === 'fde')
  const fromFrame = fdes.map((fde) => ({
    code: Number(pointerAddress(fde.begin, frame.address)),
    fde: Number(frame.address) + fde.offset,
  }))
  expect(fromFrame.sort((a, b) => a.code - b.code)).toEqual(entries)
})

test.each(['gcc-12-cxx.o', 'clang-19-cxx.o'])('%s: personality and exception tables', (name) => {
  const records = readEhFrame(sectionOf(name, '.eh_frame').data)
  const cies = records.filter((r) => r.kind === 'cie')
  expect(cies.map((c) => c.augmentation).sort()).toEqual(['zPLR', 'zR'])
  for (const record of records) {
    if (record.kind === 'cie') expect(record.personality !== undefined).toBe(record.augmentation.includes('P'))
    else expect(record.lsda !== undefined).toBe(record.cie.augmentation.includes('L'))
  }
})

describe('damaged unwind data is read or refused', () => {
  test.each(files)('%s', (name) => {
    const { data: original } = sectionOf(name, '.eh_frame')
    if (original.length === 0) return
    const change = fc.tuple(fc.nat(original.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const data = original.slice()
        for (const [at, value] of changes) data[at] = value
        try {
          const records = readEhFrame(data)
          for (const record of records) expect(record.offset + record.size).toBeLessThanOrEqual(data.length)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 100 },
    )
  })
})
