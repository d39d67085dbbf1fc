/** What was compiled for one process serves another exactly where it has the same. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readElf } from '../../binary/elf/reader.ts'
import { readRuntimeFunctions } from '../../binary/pe/directories.ts'
import { directory, readPe } from '../../binary/pe/reader.ts'
import { HotpatchError } from '../../errors.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { MappedModule, Process } from '../../process/contract.ts'
import { type Compiled, compileModule } from './compiled.ts'

interface Loaded {
  readonly memory: Uint8Array
  readonly module: Omit<MappedModule, 'base'>
}

const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`../../builder/fixtures/${name}`, import.meta.url)))

function loadedPe(): Loaded {
  const pe = readPe(fixture('mingw-dll/service.dll'))
  const size = pe.optionalHeader.SizeOfImage
  const memory = new Uint8Array(size)
  memory.set(pe.read(0, pe.optionalHeader.SizeOfHeaders))
  for (const section of pe.sections) memory.set(pe.read(section.rva, section.size), section.rva)
  return { memory, module: { name: 'service.dll', path: 'C:\\service.dll', size, deleted: false, format: 'pe' } }
}

function loadedElf(): Loaded {
  const elf = readElf(fixture('gcc-so/libservice.so'))
  const loads = elf.segments.filter(({ type }) => type === 1)
  const size = Math.max(...loads.map(({ vaddr, memsz }) => Number(vaddr) + memsz))
  const memory = new Uint8Array(size)
  for (const { vaddr, data } of loads) memory.set(data(), Number(vaddr))
  return { memory, module: { name: 'libservice.so', path: '/libservice.so', size, deleted: false, format: 'elf' } }
}

/** As compileModule finds it at `base` of a process of its own. */
function compiledAt(base: bigint, { memory, module }: Loaded, onRead: () => void = () => undefined) {
  const read = (address: bigint, length: number): Uint8Array => {
    onRead()
    const at = Number(address - base)
    if (at < 0 || at + length > memory.length) throw new HotpatchError('MEMORY_UNREADABLE', 'not mapped')
    return memory.slice(at, at + length)
  }
  const process = { machine: 'x64', read } as unknown as Process
  return compileModule(process, { ...module, base }, architectureOf('x64').unwinding)
}

const changed = ({ memory, module }: Loaded, at: number): Loaded => {
  const copy = memory.slice()
  copy[at] = (copy[at] as number) ^ 0x01
  return { memory: copy, module }
}

/** What the table says of each instruction that a record of the fixture covers. */
function rowsOf({ table }: Compiled) {
  const pe = readPe(fixture('mingw-dll/service.dll'))
  return readRuntimeFunctions(pe).flatMap(({ BeginAddress, EndAddress }) =>
    Array.from({ length: EndAddress - BeginAddress }, (_, i) => {
      const row = table.rowAt(BeginAddress + i)
      return [BeginAddress + i, table.kinds[row], table.operands[row], ...(table.savedSets[table.saved[row] as number] as Int32Array)].join(
        ' ',
      )
    }),
  )
}

const LOW = 0x10000000n
const HIGH = 0x7f0000000000n

describe('a module of PE', () => {
  const loaded = loadedPe()

  it('is compiled once where processes have the same at one place, and at another', () => {
    const first = compiledAt(LOW, loaded)
    expect(new Set(rowsOf(first).map((row) => row.replace(/^\d+ /, ''))).size).toBeGreaterThan(3)
    expect(compiledAt(LOW, loaded)).toBe(first)
    expect(compiledAt(HIGH, loaded)).toBe(first)
  })

  it('is compiled where it is the one whose exports are looked at, too', () => {
    const asNtdll = { ...loaded, module: { ...loaded.module, name: 'ntdll.dll', path: 'C:\\windows\\system32\\ntdll.dll' } }
    expect(rowsOf(compiledAt(LOW, asNtdll))).toEqual(rowsOf(compiledAt(LOW, loaded)))
  })

  it('is compiled anew for each byte of unwind data that differs, though all else is the same', () => {
    const pe = readPe(fixture('mingw-dll/service.dll'))
    const records = directory(pe, 'EXCEPTION')
    if (records === undefined) throw new Error('the fixture has no unwind data')
    // UnwindData of the first record: where its codes begin, four bytes behind the header.
    const codes = new DataView(pe.read(records.rva, 12).slice().buffer).getUint32(8, true) + 4
    const first = compiledAt(LOW, loaded)
    const other = compiledAt(LOW, changed(loaded, codes))
    expect(other).not.toBe(first)
    expect(rowsOf(other)).not.toEqual(rowsOf(first))
    // And back: what is kept is what was read last.
    expect(rowsOf(compiledAt(LOW, loaded))).toEqual(rowsOf(first))
  })

  it('is not what was kept where the memory is not there any more', () => {
    const first = compiledAt(LOW, loaded)
    const cut = { memory: loaded.memory.subarray(0, 0x1000), module: loaded.module }
    expect(() => compiledAt(LOW, cut)).toThrow(HotpatchError)
    expect(rowsOf(compiledAt(LOW, loaded))).toEqual(rowsOf(first))
  })

  it('asks a process for nothing more once it is compiled', () => {
    let reads = 0
    const compiled = compiledAt(HIGH, changed(loaded, loaded.memory.length - 1), () => reads++)
    const before = reads
    expect(before).toBeGreaterThan(0)
    rowsOf(compiled)
    expect(reads).toBe(before)
  })
})

describe('a module of ELF', () => {
  const loaded = loadedElf()

  it('is compiled once, wherever it lies', () => {
    const first = compiledAt(LOW, loaded)
    expect(first.table.kinds.length).toBeGreaterThan(3)
    expect(compiledAt(HIGH, loaded)).toBe(first)
  })

  it('is compiled anew where its unwind data differ', () => {
    const section = readElf(fixture('gcc-so/libservice.so')).sections.find(({ name }) => name === '.eh_frame')
    if (section === undefined) throw new Error('the fixture has no unwind data')
    const first = compiledAt(LOW, loaded)
    const other = compiledAt(LOW, changed(loaded, Number(section.addr) + section.size - 8))
    expect(other).not.toBe(first)
  })
})
