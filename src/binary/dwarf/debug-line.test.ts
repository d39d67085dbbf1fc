import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { debugSection as coffSection } from '../coff/line-sections.ts'
import { readCoffObject } from '../coff/reader.ts'
import { debugSection as elfSection } from '../elf/line-sections.ts'
import { isElf, readElf } from '../elf/reader.ts'
import { sectionAt } from '../section-places.ts'
import { type LineSections, readLinePrograms } from './debug-line.ts'

const folder = new URL('./fixtures/lines/', import.meta.url)
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.lines'))
  .map((name) => name.slice(0, -'.lines'.length))

function sectionsOf(file: Uint8Array): LineSections {
  const elf = isElf(file) ? readElf(file) : undefined
  const coff = elf === undefined ? readCoffObject(file) : undefined
  if (coff?.kind === 'import') throw new Error('a short import has no lines')
  const section = (name: string) => (elf ? elfSection(elf, name) : coff && coffSection(coff, name))
  const line = section('.debug_line')
  if (line === undefined) throw new Error('no .debug_line')
  return { line, lineStrings: section('.debug_line_str'), strings: section('.debug_str') }
}

describe('against llvm-dwarfdump', () => {
  test.each(names)('%s', (name) => {
    const address = (place: number) => (name.endsWith('.so') ? place : (sectionAt(place)?.offset ?? -1))
    const lines = readLinePrograms(sectionsOf(read(name))).flatMap(({ sequences }) =>
      sequences.flatMap(({ rows, end }) => [
        ...rows.map((row) => `${address(row.address)} ${row.line} ${row.column} ${row.file.name} ${row.isStatement ? 's' : '-'}`),
        `${address(end)} end`,
      ]),
    )
    const golden = readFileSync(new URL(`${name}.lines`, folder), 'utf8')
      .trimEnd()
      .split('\n')
    expect(lines.length).toBeGreaterThan(20)
    expect(lines).toEqual(golden)
  })
})

describe('places and paths', () => {
  test.each(['gcc-12-dwarf-5.o', 'clang-19-dwarf-5.o', 'mingw-gcc-12.obj'])('%s: each function in its own section', (name) => {
    const [program] = readLinePrograms(sectionsOf(read(name)))
    const sections = new Set(program?.sequences.map(({ rows }) => sectionAt(rows[0]?.address ?? 0)?.section))
    expect(sections.size).toBe(3)
    expect(program?.folders[0]).toBe('/build')
    const paths = new Set(program?.sequences.flatMap(({ rows }) => rows.map(({ file }) => file.path)))
    expect(paths).toEqual(new Set(['sample.c', 'include/inline.h', 'elsewhere/generated.y']))
  })

  test('version 4 does not name the folder of the compilation', () => {
    expect(readLinePrograms(sectionsOf(read('gcc-12-dwarf-4.o')))[0]?.folders[0]).toBe('')
  })
})

/** A program of version 4 without files, and with one standard opcode that the reader does not know. */
function programOf(...instructions: readonly number[]): LineSections {
  const lengths = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 2]
  const header = [1, 1, 1, 0xfb, 14, lengths.length + 1, ...lengths, 0, 0]
  const body = [4, 0, header.length, 0, 0, 0, ...header, ...instructions]
  return { line: Uint8Array.from([body.length, 0, 0, 0, ...body]), lineStrings: undefined, strings: undefined }
}
const SET_ADDRESS = (low: number) => [0, 9, 2, low, 0, 0, 0, 0, 0, 0, 0]
const END = [0, 1, 1]

describe('instructions', () => {
  const rows = (...instructions: readonly number[]) =>
    readLinePrograms(programOf(...instructions)).flatMap(({ sequences }) =>
      sequences.map(({ rows, end }) => [...rows.map((r) => `${r.address}:${r.line}${r.isStatement ? '' : '-'}`), end]),
    )

  test('advances of every kind', () => {
    // copy; advance_pc 4; advance_line 10; copy; const_add_pc; copy; fixed_advance_pc 0x102; negate_stmt; copy; special 0x83.
    const code = [1, 2, 4, 3, 10, 1, 8, 1, 9, 2, 1, 6, 1, 0x83]
    expect(rows(...SET_ADDRESS(16), ...code, 2, 1, ...END)).toEqual([['16:1', '20:11', '37:11', '295:11-', '303:11-', 304]])
  })

  test('an unknown standard opcode is passed over with its operands, an unknown extended one by its length', () => {
    expect(rows(...SET_ADDRESS(0), 13, 0x81, 0x01, 5, 0, 3, 0x80, 1, 2, 1, ...END)).toEqual([['0:1', 0]])
  })

  test('a file may be defined in between', () => {
    const [program] = readLinePrograms(programOf(0, 8, 3, 0x78, 0x2e, 0x63, 0, 0, 0, 0, ...SET_ADDRESS(0), 1, ...END))
    expect(program?.sequences[0]?.rows[0]?.file.path).toBe('x.c')
  })

  test('what a linker threw away is left out', () => {
    expect(rows(0, 9, 2, 255, 255, 255, 255, 255, 255, 255, 255, 1, ...END, ...SET_ADDRESS(1), 1, ...END)).toEqual([['1:1', 1]])
  })
})

describe('damaged tables', () => {
  const codes = ['TRUNCATED', 'MALFORMED']
  const attempt = (sections: () => LineSections): string => {
    try {
      readLinePrograms(sections())
      return 'read'
    } catch (error) {
      if (error instanceof HotpatchError) return error.code
      throw error
    }
  }

  test('whatever is changed in one: read, or refused with a code', () => {
    const whole = names.map((name) => sectionsOf(read(name)))
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }), (which, changes) => {
        const sections = whole[which % whole.length] as LineSections
        const line = sections.line.slice()
        for (const [at, byte] of changes) line[at % line.length] = byte
        expect(['read', ...codes]).toContain(attempt(() => ({ ...sections, line })))
      }),
      { numRuns: 2000 },
    )
  })

  test('cut off anywhere', () => {
    const sections = sectionsOf(read('gcc-12-dwarf-5.o'))
    for (let length = 1; length < sections.line.length; length++)
      expect(codes).toContain(attempt(() => ({ ...sections, line: sections.line.subarray(0, length) })))
  })

  test.each([
    ['a version that there is not', 4, 6],
    ['a range of no lines', 14, 0],
    ['more than its section', 0, 255],
  ])('%s', (_name, at, byte) => {
    const sections = programOf(1)
    sections.line[at] = byte
    expect(codes).toContain(attempt(() => sections))
  })

  test('entries without columns are not counted up', () => {
    const sections = sectionsOf(read('gcc-12-dwarf-5.o'))
    const line = sections.line.slice()
    // The folders' count of columns lies behind length, version, sizes, header length, six numbers and twelve operand counts.
    expect(line[30]).toBe(1)
    line[30] = 0
    expect(codes).toContain(attempt(() => ({ ...sections, line })))
  })

  test('a section that claims to expand beyond what deflate can', () => {
    const file = read('gcc-12-zlib.o')
    const section = readElf(file).sections.find(({ name }) => name === '.debug_line')
    new DataView(file.buffer).setBigUint64((section?.offset ?? 0) + 8, 1n << 40n, true)
    expect(() => sectionsOf(file)).toThrow(HotpatchError)
  })
})
