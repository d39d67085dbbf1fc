/** Objects that differ in nothing that a process could notice are told from those that do without being parsed. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Elf64_Shdr } from '../binary/elf/definitions.ts'
import { isAllocated, readElf } from '../binary/elf/reader.ts'
import { HotpatchError } from '../errors.ts'
import { inputFormat, readObject, sameObject } from './formats.ts'
import type { LinkGraph } from './graph.ts'

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(new URL(path, import.meta.url)))

const OBJECTS = {
  'ELF, gcc': read('fixtures/gcc-so/before/service.o'),
  'ELF, clang': read('fixtures/clang-so/before/service.o'),
  'COFF, mingw': read('fixtures/mingw-dll/before/service.obj'),
  'COFF, clang, CodeView': read('fixtures/clang-pdb-dll/before/service.obj'),
} as const

const changed = (bytes: Uint8Array, at: number): Uint8Array => {
  const copy = bytes.slice()
  copy[at] = (copy[at] as number) ^ 0x40
  return copy
}

describe.each(Object.entries(OBJECTS))('%s', (_name, bytes) => {
  it('is the same as itself, whatever its date', () => {
    expect(sameObject(bytes, bytes.slice())).toBe(true)
    if (inputFormat(bytes) === 'coff-object') expect(sameObject(bytes, changed(bytes, 4))).toBe(true)
  })

  it('is not the same after a fix', () => {
    const after = Object.entries(OBJECTS).find(([, b]) => b === bytes)?.[0]
    const path = { 'ELF, gcc': 'gcc-so', 'ELF, clang': 'clang-so', 'COFF, mingw': 'mingw-dll', 'COFF, clang, CodeView': 'clang-pdb-dll' }[
      after ?? ''
    ]
    const suffix = path?.endsWith('dll') ? 'obj' : 'o'
    expect(sameObject(bytes, read(`fixtures/${path}/after/service.${suffix}`))).toBe(false)
  })

  it('is called the same only where the graphs are', () => {
    const shape = (data: Uint8Array): unknown => {
      const plain = (graph: LinkGraph) => [
        graph.blocks
          .filter((b) => !/^\.(debug|comment|note|llvm_addrsig)/.test(b.section))
          .map((b) => [
            b.name,
            b.kind,
            b.size,
            b.content && Buffer.from(b.content).toString('hex'),
            b.edges.map((e) => [e.offset, e.kind, e.target.name, e.addend]),
          ]),
        graph.symbols.filter((s) => s.kind !== 'section').map((s) => [s.name, s.offset, s.size, s.binding, s.kind]),
      ]
      try {
        return plain(readObject(data, 'object'))
      } catch (error) {
        return error instanceof HotpatchError ? error.code : 'crash'
      }
    }
    const original = shape(bytes)
    let same = 0
    // Each byte, not a sample: those that do not matter are few (60 of 4,024 in clang's ELF object).
    for (let at = 0; at < bytes.length; at++) {
      const other = changed(bytes, at)
      if (!sameObject(bytes, other)) continue
      same += 1
      const now = shape(other)
      // Damage to headers of what does not matter is found when the object is read, if it ever is.
      if (typeof now !== 'string') expect(now, `byte ${at}`).toEqual(original)
    }
    expect(same).toBeGreaterThan(0)
  })
})

describe('what does not matter', () => {
  it('is every byte of a section that is not loaded, names nothing and ties nothing together', () => {
    const bytes = OBJECTS['ELF, gcc'].slice()
    const elf = readElf(bytes)
    const table = elf.sections.find((s) => s.name === '.eh_frame')
    if (table === undefined) throw new Error('the fixture has no unwind records')
    expect(sameObject(bytes, changed(bytes, table.offset))).toBe(false)
    // As debug information is: not allocated.
    const view = new DataView(bytes.buffer)
    view.setUint32(Number(elf.header.e_shoff) + table.index * Elf64_Shdr.size + Elf64_Shdr.offsets.sh_flags, 0, true)
    expect(sameObject(bytes, changed(bytes, table.offset))).toBe(true)
    expect(sameObject(bytes, changed(bytes, table.offset + table.size - 1))).toBe(true)
  })

  it('never is a byte of code, of its relocations or of the symbol table', () => {
    for (const bytes of [OBJECTS['ELF, gcc'], OBJECTS['ELF, clang']]) {
      const elf = readElf(bytes)
      for (const section of elf.sections) {
        const matters = isAllocated(section) || section.name.startsWith('.rela.text') || /^\.(symtab|strtab)$/.test(section.name)
        if (!matters || section.size === 0 || section.data() === undefined) continue
        for (const at of [section.offset, section.offset + section.size - 1])
          expect(sameObject(bytes, changed(bytes, at)), section.name).toBe(false)
      }
    }
  })

  it('is not told of what is cut off or of another kind', () => {
    const bytes = OBJECTS['ELF, gcc']
    expect(sameObject(bytes, bytes.subarray(0, 40))).toBe(false)
    expect(sameObject(bytes, OBJECTS['COFF, mingw'])).toBe(false)
    expect(sameObject(OBJECTS['COFF, mingw'], OBJECTS['COFF, mingw'].subarray(0, 100))).toBe(false)
  })
})
