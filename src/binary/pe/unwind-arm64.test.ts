import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { type Node, nodesOf, numberOf, parseReadobj } from '../coff/testing/readobj.ts'
import type { CfaRow } from '../dwarf/cfa.ts'
import { PeFrames } from './frames.ts'
import { arm64Extent, arm64Records, arm64UnwindOf } from './functions-arm64.ts'
import { directory, readPe } from './reader.ts'
import { type Arm64Code, readXdataArm64 } from './unwind-arm64.ts'
import { arm64Rows } from './unwind-rows-arm64.ts'

const fixture = (name: string): Buffer => readFileSync(new URL(`fixtures/${name}`, import.meta.url))
const image = readPe(new Uint8Array(fixture('lld19-arm64-unwind.bin')))
const golden = parseReadobj(fixture('lld19-arm64-unwind.bin.readobj').toString())
const exceptions = directory(image, 'EXCEPTION') as { rva: number; size: number }
const table = image.read(exceptions.rva, exceptions.size)
const read = (rva: number, length: number): Uint8Array => image.read(rva, length)

const CUSTOM: Readonly<Record<string, string>> = { context: 'context', 'machine-frame': 'machine frame' }

/** As llvm-readobj prints it, with one name for x30. */
function printed(code: Arm64Code): string {
  switch (code.op) {
    case 'alloc':
      return `sub sp, sp, #${code.size}`
    case 'save': {
      const [first, ...others] = code.registers.map((n) => `${code.kind}${n}`)
      const place = code.writeBack ? `[sp, #-${code.offset}]!` : `[sp, #${code.offset}]`
      return others.length > 0 ? `stp ${first}, ${others[0]}, ${place}` : `str ${first}, ${place}`
    }
    case 'save-next':
      return 'save next'
    case 'set-frame':
      return code.offset === 0 ? 'mov x29, sp' : `add x29, sp, #${code.offset}`
    case 'sign':
      return 'pacibsp'
    default:
      return CUSTOM[code.op] ?? code.op
  }
}

const normal = (line: string): string =>
  line
    .replace(/^0x[0-9a-f]+ +; /, '')
    .replace(/\blr\b/g, 'x30')
    .replace(/\bfp\b/g, 'x29')
    .replace(/^sub sp, #/, 'sub sp, sp, #')
    // Of packed data: parameters are stored where nothing will look for them.
    .replace(/^stp x([0246]), x\d, \[sp, #\d+\]$/, 'nop')

const linesOf = (node: Node): string[] => node.lines.map(normal)
const child = (node: Node, name: string): Node | undefined => nodesOf(node, name)[0]

describe('unwind information of an ARM64 image as llvm-readobj reads it', () => {
  const nodes = nodesOf(golden, 'RuntimeFunction')
  const records = arm64Records(table)
  const cases = records.map((record, i) => ({ record, node: nodes[i] as Node, unwind: arm64UnwindOf(record, read) }))

  it('is of the same functions', () => {
    expect(records.length).toBe(nodes.length)
    expect(records.length).toBeGreaterThan(25)
    for (const { record, node, unwind } of cases) {
      expect(Number(/0x[0-9A-F]+/.exec(node.values.get('Function') ?? '')?.[0]) - 0x180000000).toBe(record.BeginAddress)
      expect(unwind.functionLength).toBe(numberOf(child(node, 'ExceptionData') ?? node, 'FunctionLength'))
      expect(arm64Extent(record, read)).toBe(unwind.functionLength)
    }
  })

  it('has the same prologues', () => {
    for (const { record, node, unwind } of cases) {
      const codes = unwind.codes.filter(({ op }) => op !== 'end-chained').map(printed)
      // LLVM prints this one, which lowers the stack, as what stores parameters.
      const lines = linesOf(child(node, 'Prologue') as Node).map((line) =>
        line.replace(/^stp x0, x1, \[sp, #-(\d+)\]!$/, 'sub sp, sp, #$1'),
      )
      expect(codes, record.BeginAddress.toString(16)).toEqual(lines)
    }
  })

  it('has the same epilogues and handlers', () => {
    let scopes = 0
    for (const { node, unwind } of cases) {
      if (child(node, 'ExceptionData') === undefined) continue
      const expected = nodesOf(node, 'EpilogueScope')
      scopes += expected.length
      if (child(node, 'EpilogueScopes') !== undefined)
        expect(unwind.epilogues.map(({ start }) => start / 4)).toEqual(expected.map((n) => numberOf(n, 'StartOffset')))
      for (const [i, scope] of expected.entries()) expect(unwind.epilogues[i]?.codes.length).toBe(child(scope, 'Opcodes')?.lines.length)
      const handler = child(node, 'ExceptionHandler')
      expect(unwind.handler?.rva).toBe(handler && numberOf(handler, 'Routine') - 0x180000000)
    }
    expect(scopes).toBeGreaterThan(2)
  })

  it('is made into frames, each with a row for every instruction of its prologue', () => {
    const frames = new PeFrames('arm64', table, read)
    const stretches = Array.from({ length: frames.count }, (_, i) => frames.at(i))
    const functions = stretches.flatMap(({ described }) => described ?? [])
    expect(stretches.map(({ begin }) => begin)).toEqual(records.map(({ BeginAddress }) => BeginAddress).sort((a, b) => a - b))
    expect(functions.length).toBe(records.length)
    for (const { rows, size } of functions) {
      expect(rows[0]?.start).toBe(0)
      expect(rows.every(({ start }, i) => start < size && start > (rows[i - 1]?.start ?? -1))).toBe(true)
    }
    expect(functions.filter(({ signal }) => signal).length).toBe(2)
  })
})

const xdata = (length: number, codes: readonly number[], { packed = false, count = 0, scopes = [] as number[] } = {}) => {
  const words = Math.ceil(codes.length / 4)
  const bytes = Buffer.alloc(4 + 4 * scopes.length + 4 * words)
  bytes.writeUInt32LE(((length / 4) | (packed ? 1 << 21 : 0) | ((packed ? count : scopes.length) << 22) | (words << 27)) >>> 0, 0)
  for (const [i, scope] of scopes.entries()) bytes.writeUInt32LE(scope >>> 0, 4 + 4 * i)
  Buffer.from(codes).copy(bytes, 4 + 4 * scopes.length)
  return readXdataArm64((rva, size) => {
    if (rva + size > bytes.length) throw new HotpatchError('TRUNCATED', 'outside')
    return bytes.subarray(rva, rva + size)
  }, 0)
}

const summary = (rows: readonly CfaRow[] | undefined) =>
  rows?.map(({ start, cfa, registers }) => [
    start,
    cfa.kind === 'register' ? `x${cfa.register}+${cfa.offset}` : 'expression',
    [...registers].map(([register, rule]) => `x${register}:${rule.kind === 'offset' ? rule.offset : rule.kind}`).join(' '),
  ])

describe('rows', () => {
  test('of a prologue step by step, and of its epilogue', () => {
    // stp x19, x20, [sp, #-32]!; str x30, [sp, #16]; sub sp, sp, #16; ...; add sp; ldr; ldp; ret
    const unwind = xdata(40, [0x01, 0xd2, 0xc2, 0x24, 0xe4], { packed: true })
    expect(summary(arm64Rows(unwind))).toEqual([
      [0, 'x31+0', ''],
      [4, 'x31+32', 'x19:-32 x20:-24'],
      [8, 'x31+32', 'x30:-16 x19:-32 x20:-24'],
      [12, 'x31+48', 'x30:-16 x19:-32 x20:-24'],
      [24, 'x31+48', 'x30:-16 x19:-32 x20:-24'],
      [28, 'x31+32', 'x30:-16 x19:-32 x20:-24'],
      [32, 'x31+32', 'x19:-32 x20:-24'],
      [36, 'x31+0', ''],
    ])
  })

  test('the body goes on behind an epilogue in its middle', () => {
    // str x30, [sp, #-16]!; epilogue at 8
    const unwind = xdata(32, [0xd5, 0x61, 0xe4], { scopes: [2] })
    expect(summary(arm64Rows(unwind))).toEqual([
      [0, 'x31+0', ''],
      [4, 'x31+16', 'x30:-16'],
      [8, 'x31+16', 'x30:-16'],
      [12, 'x31+0', ''],
      [16, 'x31+16', 'x30:-16'],
    ])
  })

  test('what is stored after the frame was set counts from it', () => {
    // stp x29, x30, [sp, #-32]!; mov x29, sp; str x19, [sp, #16]
    expect(summary(arm64Rows(xdata(64, [0xd0, 0x02, 0xe1, 0x83, 0xe4])))?.at(-1)).toEqual([12, 'x29+32', 'x19:-16 x29:-32 x30:-24'])
  })

  test('save_next is the pair behind that of the next code', () => {
    // stp x19, x20, [sp, #-48]!; x21 and x22; x23 and x24
    expect(summary(arm64Rows(xdata(64, [0xe6, 0xe6, 0x26, 0xe4])))?.at(-1)).toEqual([
      12,
      'x31+48',
      'x19:-48 x20:-40 x21:-32 x22:-24 x23:-16 x24:-8',
    ])
  })

  test('a fragment has everything done before its first instruction', () => {
    expect(summary(arm64Rows(xdata(64, [0xe5, 0xd5, 0x61, 0xe4])))).toEqual([[0, 'x31+16', 'x30:-16']])
  })

  test('how long a scalable vector is nobody tells: such frames have rows only where x29 says it', () => {
    // alloc_z 2 behind str x30; the same with a frame.
    expect(arm64Rows(xdata(64, [0xdf, 0x02, 0xd5, 0x61, 0xe4]))).toBeUndefined()
    expect(summary(arm64Rows(xdata(64, [0xdf, 0x02, 0xe1, 0x81, 0xe4])))?.at(-1)).toEqual([12, 'x29+16', 'x29:-16 x30:-8'])
    expect(xdata(64, [0xe7, 0x03, 0xc5, 0xe7, 0x14, 0xc1, 0xe4]).codes.slice(0, 2)).toEqual([
      { op: 'save-scalable', register: 11, predicate: false, offset: 5 },
      { op: 'save-scalable', register: 4, predicate: true, offset: 1 },
    ])
  })

  test('reserved codes and lists without an end are refused', () => {
    for (const codes of [
      [0xed, 0xe4],
      [0xfd, 0xe4],
      [0xe3, 0xe3, 0xe3, 0xe3],
      [0xe3, 0xe3, 0xe3, 0xe0],
    ])
      expect(() => xdata(16, codes)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  test('of any codes: ascending, each within its function, or none', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(255), { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 200 }), (codes, length) => {
        try {
          const rows = arm64Rows(xdata(4 * length, [...codes, 0xe4]))
          for (const [i, { start }] of (rows ?? []).entries()) {
            expect(start).toBeLessThan(4 * length)
            expect(start).toBeGreaterThan(rows?.[i - 1]?.start ?? -1)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
    )
  })
})
