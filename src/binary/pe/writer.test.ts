import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { IMAGE_FILE, IMAGE_FILE_MACHINE, IMAGE_SCN } from '../coff/definitions.ts'
import { peChecksum } from './checksum.ts'
import { IMAGE_DLLCHARACTERISTICS, IMAGE_REL_BASED, ImageOptionalHeader64 } from './definitions.ts'
import { readBaseRelocations, readExports } from './directories.ts'
import { readImageSymbols, readPe } from './reader.ts'
import { encodeBaseRelocations, encodeExports, layOut, type NewImage, type NewSection, writePe } from './writer.ts'

const checkSumAt = (ntOffset: number): number => ntOffset + 24 + ImageOptionalHeader64.offsets.CheckSum

describe('the checksum', () => {
  const folder = join(import.meta.dirname, 'fixtures')
  const withChecksum = readdirSync(folder)
    .filter((name) => name.startsWith('ld-') && name.endsWith('.dll'))
    .map((name) => new Uint8Array(readFileSync(join(folder, name))))

  it('is what GNU ld computes', () => {
    for (const file of withChecksum) {
      const image = readPe(file)
      expect(peChecksum(file, checkSumAt(image.ntOffset))).toBe(image.optionalHeader.CheckSum)
    }
    expect(withChecksum.length).toBeGreaterThan(0)
  })

  it('takes an odd last byte, and is the same whether the field is set or not', () => {
    const file = new Uint8Array(101).fill(0xff)
    const before = peChecksum(file, 64)
    file.fill(0x12, 64, 68)
    expect(peChecksum(file, 64)).toBe(before)
    // 48 words of ones carry to ones; ones and 0xff carry to 0xff.
    expect(before).toBe(0xff + 101)
  })
})

const section = (name: string, characteristics: number, content: Uint8Array, size = content.length) => ({
  name,
  characteristics,
  content,
  size,
})
const TEXT = (IMAGE_SCN.CNT_CODE | IMAGE_SCN.MEM_EXECUTE | IMAGE_SCN.MEM_READ) >>> 0
const DATA = (IMAGE_SCN.CNT_INITIALIZED_DATA | IMAGE_SCN.MEM_READ | IMAGE_SCN.MEM_WRITE) >>> 0

function placed(sections: readonly Omit<NewSection, 'rva'>[]): NewSection[] {
  const result: NewSection[] = []
  layOut(sections, (each, rva) => {
    result.push({ ...each, rva })
    return each.size
  })
  return result
}

const imageOf = (sections: readonly NewSection[], rest: Partial<NewImage> = {}): NewImage => ({
  machine: IMAGE_FILE_MACHINE.AMD64,
  imageBase: 0x180000000n,
  dllCharacteristics: IMAGE_DLLCHARACTERISTICS.DYNAMIC_BASE,
  sections,
  directories: {},
  symbols: [],
  ...rest,
})

describe('an image that is written', () => {
  it('reads back, whatever its sections are', () => {
    const anySection = fc.record({
      name: fc.stringMatching(/^\.[a-z]{1,7}$/),
      characteristics: fc.constantFrom(TEXT, DATA),
      content: fc.uint8Array({ maxLength: 0x1800 }),
      more: fc.nat(0x3000),
    })
    fc.assert(
      fc.property(fc.array(anySection, { minLength: 1, maxLength: 6 }), (specs) => {
        const sections = placed(specs.map((s) => section(s.name, s.characteristics, s.content, s.content.length + s.more + 1)))
        const file = writePe(imageOf(sections))
        const image = readPe(file)
        expect(image.sections.map((s) => [s.name, s.rva, s.size, s.characteristics])).toEqual(
          sections.map((s) => [s.name, s.rva, s.size, s.characteristics]),
        )
        for (const s of sections) {
          const whole = new Uint8Array(s.size)
          whole.set(s.content)
          expect(Buffer.compare(image.read(s.rva, s.size), whole)).toBe(0)
        }
        expect(image.fileHeader.Characteristics).toBe(IMAGE_FILE.EXECUTABLE_IMAGE | IMAGE_FILE.LARGE_ADDRESS_AWARE | IMAGE_FILE.DLL)
        expect(image.optionalHeader.CheckSum).toBe(peChecksum(file, checkSumAt(image.ntOffset)))
        expect(image.optionalHeader.SizeOfImage % 0x1000).toBe(0)
        expect(Buffer.compare(writePe(imageOf(sections)), file)).toBe(0)
      }),
      { numRuns: 50 },
    )
  })

  it('has a time stamp that follows from its content', () => {
    const stampOf = (byte: number): number =>
      readPe(writePe(imageOf(placed([section('.text', TEXT, Uint8Array.of(byte))])))).fileHeader.TimeDateStamp
    expect(stampOf(1)).toBe(stampOf(1))
    expect(stampOf(1)).not.toBe(stampOf(2))
  })

  it('has its symbols', () => {
    const symbols = [
      { name: 'short', section: 1, value: 0, isFunction: true, isGlobal: true },
      { name: 'a_name_of_more_than_eight', section: 1, value: 1, isFunction: false, isGlobal: false },
    ]
    const image = readPe(writePe(imageOf(placed([section('.text', TEXT, Uint8Array.of(0xc3, 0xc3))]), { symbols })))
    expect(readImageSymbols(image).map((s) => [s.name, s.value])).toEqual([
      ['short', 0],
      ['a_name_of_more_than_eight', 1],
    ])
  })

  it('has exports that read back, sorted as the loader searches them', () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[A-Za-z_?@][A-Za-z0-9_?@$]{0,20}$/), { maxLength: 12 })
    fc.assert(
      fc.property(names, (exported) => {
        const exports = exported.map((name, i) => ({ name, rva: 0x10000 + i }))
        const [at] = placed([section('.rdata', DATA, new Uint8Array(), 0x1000)])
        const rva = at?.rva ?? 0
        const content = encodeExports('some.dll', rva, exports)
        const directories = { EXPORT: { rva, size: content.length } }
        const read = readExports(readPe(writePe(imageOf(placed([section('.rdata', DATA, content)]), { directories }))))
        expect(read?.name).toBe('some.dll')
        const byName = (a: { name: string | undefined }, b: { name: string | undefined }): number =>
          Buffer.compare(Buffer.from(a.name ?? ''), Buffer.from(b.name ?? ''))
        expect(read?.exports.map(({ name, rva }) => ({ name, rva }))).toEqual([...exports].sort(byName))
      }),
      { numRuns: 50 },
    )
  })

  it('has base relocations that read back', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(0x7ffff), { minLength: 1, maxLength: 200 }), (rvas) => {
        const content = Uint8Array.from(encodeBaseRelocations(rvas))
        expect(content.length % 4).toBe(0)
        const sections = placed([section('.reloc', DATA, content)])
        const directories = { BASERELOC: { rva: sections[0]?.rva ?? 0, size: content.length } }
        const read = readBaseRelocations(readPe(writePe(imageOf(sections, { directories }))))
        expect(read).toEqual([...rvas].sort((a, b) => a - b).map((rva) => ({ rva, type: IMAGE_REL_BASED.DIR64 })))
      }),
      { numRuns: 50 },
    )
  })
})
