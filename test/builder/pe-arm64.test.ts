/** PE patch images for ARM64: before tools that others made, and in a made-up process of Windows on ARM64. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { IMAGE_SCN } from '../../src/binary/coff/definitions.ts'
import { arm64Extent, arm64Records } from '../../src/binary/pe/functions-arm64.ts'
import { directory, readPe } from '../../src/binary/pe/reader.ts'
import { buildPatch } from '../../src/builder/build.ts'
import { readBase } from '../../src/builder/images.ts'
import { applyPatch, rollbackPatch, verifyProcess } from '../../src/engine/index.ts'
import { decodeWord, INSTRUCTION_SIZE, wordAt } from '../../src/machine/arm64/instructions.ts'
import { LINK_REGISTER } from '../../src/machine/arm64/registers.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import { type FakeModule, FakeTarget, type FakeThread, fakeBackend } from '../../src/process/fake/index.ts'

const FIXTURES = join(import.meta.dirname, '../../src/builder/fixtures')
const work = mkdtempSync(join(tmpdir(), 'hotpatch-pe-arm64-'))
afterAll(() => rmSync(work, { recursive: true }))

const has = (tool: string): boolean => spawnSync(tool, ['--version']).status === 0
const tool = (name: string): string | undefined => [`${name}-19`, name].find(has)
const [readobj, objdump] = [tool('llvm-readobj'), tool('llvm-objdump')]
const output = (command: string, args: readonly string[]): string => {
  const run = spawnSync(command, args, { encoding: 'utf8' })
  expect(run.status, run.stderr).toBe(0)
  return run.stdout + run.stderr
}

function build(fixture: string): Uint8Array {
  const built = buildPatch({
    before: join(FIXTURES, fixture, 'before'),
    after: join(FIXTURES, fixture, 'after'),
    base: join(FIXTURES, fixture, 'service.dll'),
    id: 'service-3',
    sequence: 3,
    description: '',
    cves: [],
  })
  if (built.outcome !== 'built') throw new Error(built.outcome)
  return built.image
}

describe.each(['clang-arm64-dll', 'clang-arm64-pdb-dll'])('the patch image of %s', (fixture) => {
  const image = build(fixture)
  const file = join(work, `${fixture}.dll`)
  writeFileSync(file, image)
  const pe = readPe(image)
  const { functions, added } = readPatchImage(image).manifest

  it('is the same, bit for bit, when it is built again', () => {
    expect(Buffer.compare(build(fixture), image)).toBe(0)
  })

  it('has the unwind data of its functions, sorted', () => {
    const at = directory(pe, 'EXCEPTION') as { rva: number; size: number }
    const records = arm64Records(pe.read(at.rva, at.size))
    const begins = records.map(({ BeginAddress }) => BeginAddress)
    expect(begins).toEqual([...begins].sort((a, b) => a - b))
    for (const { patchRva, patchSize } of functions) {
      const record = records.find(({ BeginAddress }) => BeginAddress === patchRva)
      expect(record && arm64Extent(record, (rva, length) => pe.read(rva, length))).toBe(patchSize)
    }
    expect(begins).toContain(added.find(({ name }) => name === 'clamp')?.patchRva)
  })

  it.skipIf(readobj === undefined)('is read by llvm-readobj without complaint', () => {
    const text = output(readobj as string, ['--all', '--coff-load-config', '--coff-basereloc', '--coff-exports', '--unwind', file])
    expect(text).not.toMatch(/warning|error|invalid/i)
    expect(text).toContain('IMAGE_FILE_MACHINE_ARM64')
    for (const part of ['RuntimeFunction {', 'LoadConfig [', 'Export {']) expect(text).toContain(part)
    expect(text).toMatch(/HotPatchTableOffset: 0x[1-9A-F]/)
  })

  it.skipIf(objdump === undefined)('is disassembled by llvm-objdump without complaint', () => {
    const text = output(objdump as string, ['-d', file])
    expect(text).not.toMatch(/warning|<unknown>/i)
    expect(text).toMatch(/^[0-9a-f]+ <service_handle>:$/m)
  })
})

const BASE = 0x7ff7_1000_0000n
const STACK = 0x10_0000n
const STACK_POINTER = STACK + 0x800n

/** A DLL as Windows maps it; its addresses are not relocated, which this one has none of in its code. */
function mapped(path: string): FakeModule {
  const image = readPe(new Uint8Array(readFileSync(path)))
  const pages = (size: number): number => Math.ceil(size / 0x1000) * 0x1000
  const sections = image.sections.map(({ rva, size, fileSize, characteristics }) => ({
    offset: rva,
    size: pages(size),
    protection:
      (characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0
        ? ('rx' as const)
        : (characteristics & IMAGE_SCN.MEM_WRITE) !== 0
          ? ('rw' as const)
          : ('r' as const),
    content: image.read(rva, Math.min(size, fileSize)),
  }))
  const headers = { offset: 0, size: 0x1000, protection: 'r' as const, content: image.read(0, image.optionalHeader.SizeOfHeaders) }
  return { path: 'C:\\service\\service.dll', base: BASE, format: 'pe', segments: [headers, ...sections] }
}

describe('a process of Windows on ARM64', () => {
  const path = join(FIXTURES, 'clang-arm64-dll/service.dll')
  const base = readBase(path)
  const rvaOf = (name: string): number => base.symbols.find((s) => s.name === name && s.size > 0)?.rva as number
  const patch = readPatchImage(build('clang-arm64-dll'))

  /** Behind the instruction of `caller` of which `isIt`. */
  function returnInto(caller: string, isIt: (word: number, rva: number) => boolean): number {
    for (let rva = rvaOf(caller); ; rva += INSTRUCTION_SIZE)
      if (isIt(wordAt(base.bytes(rva, INSTRUCTION_SIZE) as Uint8Array, 0), rva)) return rva + INSTRUCTION_SIZE
  }

  const address = (rva: number): bigint => BASE + BigInt(rva)

  /** One thread in a function without unwind data, called by service_apply, called by who called it. */
  function target(caller: bigint): FakeTarget {
    const twice = base.symbols.find((s) => s.name === 'twice')?.rva as number
    const intoApply = returnInto('service_apply', (word) => decodeWord(word).flow === 'call-indirect')
    const stack = Buffer.alloc(0x1000)
    // service_apply: str x30, [sp, #-16]!; service_handle: 48 bytes, x30 at 32, of a thread that begins there.
    stack.writeBigUInt64LE(caller, 0x800)
    stack.writeBigUInt64LE(0n, 0x810 + 32)
    const thread: FakeThread = {
      id: 1,
      name: 'worker',
      instructionPointer: address(twice),
      stackPointer: STACK_POINTER,
      registers: new Map([[LINK_REGISTER, address(intoApply)]]),
    }
    const memory: FakeModule = {
      path: 'stack',
      base: STACK,
      format: 'pe',
      segments: [{ offset: 0, size: 0x1000, protection: 'rw', content: stack }],
    }
    return new FakeTarget({ pid: 7, name: 'service', machine: 'arm64', modules: [mapped(path), memory], threads: [thread] })
  }

  it('is not patched while a frame of the function lies on a stack, which leads through a leaf and packed unwind data to it', async () => {
    const intoHandle = returnInto('service_handle', (word, rva) => {
      const { flow, distance } = decodeWord(word)
      return flow === 'call' && rva + (distance as number) === rvaOf('service_apply')
    })
    const process = fakeBackend([target(address(intoHandle))]).open(7)
    await expect(applyPatch(process, patch, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringMatching(/service_handle/),
    })
  })

  it('is patched by one branch at the function’s entry, and given back', async () => {
    const process = fakeBackend([target(0n)]).open(7)
    const entry = address(rvaOf('service_handle'))
    const before = process.read(entry, 8)
    const report = await applyPatch(process, patch, { timeoutMs: 2000 })
    const placed = BigInt(report.mappings.find(({ what }) => what === 'image')?.address ?? 0)
    const branch = decodeWord(wordAt(process.read(entry, 4), 0))
    expect(branch.form).toBe('b')
    const stub = entry + BigInt(branch.distance as number)
    const load = decodeWord(wordAt(process.read(stub, 4), 0))
    const pointer = Buffer.from(process.read(stub + BigInt(load.distance as number), 8)).readBigUInt64LE()
    expect(pointer).toBe(placed + BigInt(patch.manifest.functions[0]?.patchRva ?? 0))
    expect(process.read(entry + 4n, 4)).toEqual(before.slice(4))
    expect(verifyProcess(process)).toMatchObject({ outcome: 'verified' })
    await rollbackPatch(process)
    expect(process.read(entry, 8)).toEqual(before)
  })
})
