import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { constantName, DT, R_X86_64, SHN } from './definitions.ts'
import { readElfFromMemory } from './memory.ts'
import { type ElfFile, readElf } from './reader.ts'
import type { ElfSymbol } from './symbols.ts'

const folder = new URL('./fixtures/', import.meta.url)
const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))
const golden = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8'))
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length))

const place = ({ place, section }: ElfSymbol): number =>
  place === 'section' ? section : { undefined: SHN.UNDEF, absolute: SHN.ABS, common: SHN.COMMON, other: -1 }[place]

/** What golden.py keeps of llvm-readobj's words, in our reading. */
function describeElf(elf: ElfFile) {
  const versions = elf.versions()
  const symbol = (s: ElfSymbol, name: string) => [name, Number(s.value), s.size, s.binding, s.type, place(s)]
  const ofSection = (s: ElfSymbol): string => s.name || (s.place === 'section' ? (elf.sections[s.section]?.name ?? '') : '')
  const versioned = (s: ElfSymbol): string => {
    const version = versions(s.index)
    return version ? `${s.name}${version.hidden ? '@' : '@@'}${version.name}` : s.name
  }
  return {
    sections: elf.sections.map((s) => [s.name, s.type, s.flags, Number(s.addr), s.offset, s.size, s.link, s.info, s.align, s.entsize]),
    segments: elf.segments.map((s) => [s.type, s.flags, s.offset, Number(s.vaddr), s.filesz, s.memsz, s.align]),
    symbols: elf.symbols().map((s) => symbol(s, ofSection(s))),
    dynamicSymbols: elf.dynamicSymbols().map((s) => symbol(s, versioned(s))),
    groups: elf.groups().map((g) => [g.signature, g.comdat ? 1 : 0, g.members]),
    notes: elf.notes().map((n) => [n.name, n.name === 'GNU' ? elf.buildId() : '']),
    relocations: Object.fromEntries(
      elf.sections.flatMap((s) => {
        const found = elf.relocations(s.index)
        if (elf.type !== 1 || found.length === 0) return []
        const source = elf.sections.find((r) => r.info === s.index && (r.type === 4 || r.type === 9))
        return [
          [
            source?.name ?? '',
            found.map((r) => [
              r.offset,
              constantName('R_X86_64', R_X86_64, r.type),
              ofSection(elf.symbols()[r.symbol] as ElfSymbol),
              r.addend,
            ]),
          ],
        ]
      }),
    ),
  }
}

describe('against llvm-readobj', () => {
  test.each(names.filter((name) => !name.includes('stripped')))('%s', (name) => {
    const expected = golden(name)
    const elf = readElf(fixture(name))
    const { relocations, ...rest } = describeElf(elf)
    const { header, dynamic, relocations: expectedRelocations, ...expectedRest } = expected
    expect(rest).toEqual(expectedRest)
    if (elf.type === 1) expect(relocations).toEqual(expectedRelocations)
    expect([elf.machine, Number(elf.header.e_entry)]).toEqual(header.slice(1))
    const read = elf.dynamic()
    expect([...(read?.entries ?? []), ...(read ? [{ tag: 0, value: 0n }] : [])].map((e) => [e.tag, Number(e.value)])).toEqual(
      dynamic.map((d: unknown[]) => d.slice(0, 2)),
    )
    expect(read?.needed ?? []).toEqual(dynamic.filter((d: unknown[]) => d[0] === DT.NEEDED).map((d: unknown[]) => d[2]))
  })
})

test('a file without section headers is read through its dynamic section', () => {
  const whole = readElf(fixture('gcc-12-bfd.so'))
  const stripped = readElf(fixture('gcc-12-bfd-stripped.so'))
  expect(stripped.sections).toEqual([])
  expect(stripped.dynamicSymbols()).toEqual(whole.dynamicSymbols())
  expect(stripped.buildId()).toBe(whole.buildId())
  expect(stripped.dynamic()?.soname).toBe('libother.so')
  expect(stripped.dynamicRelocations()).toEqual(whole.dynamicRelocations())
  expect(stripped.versions()(4)).toEqual(whole.versions()(4))
})

describe('a module in memory', () => {
  /** Maps a file as the loader does; pointers of the dynamic section rebased as glibc rebases them, or left as musl leaves them. */
  const load = (name: string, base: bigint, rebase: boolean) => {
    const data = fixture(name)
    const elf = readElf(data)
    const memory = new Uint8Array(0x6000)
    for (const s of elf.segments) if (s.type === 1) memory.set(s.data(), Number(s.vaddr))
    const dynamic = elf.segments.find((s) => s.type === 2)
    const view = new DataView(memory.buffer)
    const pointers: number[] = [DT.STRTAB, DT.SYMTAB, DT.RELA, DT.JMPREL, DT.GNU_HASH, DT.VERSYM, DT.PLTGOT, DT.HASH]
    for (let at = Number(dynamic?.vaddr); rebase && view.getBigInt64(at, true) !== 0n; at += 16)
      if (pointers.includes(Number(view.getBigInt64(at, true)))) view.setBigUint64(at + 8, view.getBigUint64(at + 8, true) + base, true)
    const read = (address: bigint, length: number): Uint8Array => {
      const at = Number(address - base)
      if (at < 0 || at + length > memory.length) throw new HotpatchError('MEMORY_UNREADABLE', 'outside')
      return memory.slice(at, at + length)
    }
    return { elf, read }
  }

  test.each([
    ['gcc-12-bfd.so', true],
    ['gcc-12-bfd.so', false],
    ['clang-19-lld-pie', true],
    ['clang-19-lld-pie', false],
  ] as const)('%s, dynamic pointers rebased: %s', (name, rebase) => {
    const base = 0x7f0000000000n
    const { elf, read } = load(name, base, rebase)
    const image = readElfFromMemory(base, read)
    expect(image.bias).toBe(base)
    expect(image.buildId).toBe(elf.buildId())
    expect(image.dynamic?.entries).toEqual(elf.dynamic()?.entries)
    expect(image.dynamicSymbols()).toEqual(elf.dynamicSymbols())
    expect(image.dynamicRelocations()).toEqual(elf.dynamicRelocations())
  })
})

const readEverything = (data: Uint8Array): void => {
  const elf = readElf(data)
  elf.symbols()
  elf.dynamicSymbols()
  elf.versions()(1)
  elf.dynamic()
  elf.dynamicRelocations()
  elf.notes()
  elf.groups()
  for (const s of elf.sections) elf.relocations(s.index)
}

describe('damaged files are read or refused', () => {
  test.each(names)('%s', (name) => {
    const original = fixture(name)
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.nat(original.length),
        fc.boolean(),
        (changes, length, cut) => {
          const data = cut ? original.slice(0, length) : original.slice()
          for (const [at, value] of changes) if (at < data.length) data[at] = value
          try {
            readEverything(data)
          } catch (error) {
            expect(error).toBeInstanceOf(HotpatchError)
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  test('headers are changed most', () => {
    const original = fixture('gcc-12-bfd-pie')
    fc.assert(
      fc.property(fc.nat(0x300), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), (at, value) => {
        const data = original.slice()
        data[at] = value
        try {
          readEverything(data)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 400 },
    )
  })

  test('any bytes behind a good identification', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (tail) => {
        const data = new Uint8Array(16 + tail.length)
        data.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
        data.set(tail, 16)
        try {
          readEverything(data)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
    )
  })
})

test.each([
  ['MACHINE_UNSUPPORTED', 4, 1],
  ['MACHINE_UNSUPPORTED', 5, 2],
  ['FORMAT_UNKNOWN', 0, 0],
])('%s when byte %i is %i', (code, at, value) => {
  const data = fixture('gcc-12-plain.o')
  data[at] = value
  expect(() => readElf(data)).toThrow(expect.objectContaining({ code }))
})
