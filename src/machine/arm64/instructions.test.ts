import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { offsetOf } from './fields.ts'
import { decodeWord, type Flow, type Form, isLandingPad, isSigning, mayWrite, offsetScale } from './instructions.ts'

interface Listed {
  readonly address: number
  readonly word: number
  readonly mnemonic: string
  readonly operands: string
}

/** What llvm-objdump says: see fixtures/make.sh. */
const listing = (name: string): Listed[] =>
  readFileSync(new URL(`fixtures/${name}.txt`, import.meta.url), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [, address = '', word = '', mnemonic = '', operands = ''] = /^(\S+) (\S+) (\S+) ?(.*)$/.exec(line) ?? []
      return {
        address: Number.parseInt(address, 16),
        word: Number.parseInt(word, 16),
        mnemonic,
        operands: operands.replace(/ *\/\/.*| *<.*/g, ''),
      }
    })

const FLOWS: Readonly<Record<string, Flow>> = {
  b: 'jump',
  bl: 'call',
  br: 'jump-indirect',
  braa: 'jump-indirect',
  brab: 'jump-indirect',
  braaz: 'jump-indirect',
  brabz: 'jump-indirect',
  blr: 'call-indirect',
  blraa: 'call-indirect',
  blrab: 'call-indirect',
  blraaz: 'call-indirect',
  blrabz: 'call-indirect',
  ret: 'return',
  retaa: 'return',
  retab: 'return',
  retaasppc: 'return',
  eret: 'return',
  cbz: 'branch',
  cbnz: 'branch',
  tbz: 'branch',
  tbnz: 'branch',
  svc: 'system-call',
  hvc: 'system-call',
  smc: 'system-call',
  brk: 'trap',
  hlt: 'trap',
  udf: 'trap',
}
const flowOf = (mnemonic: string): Flow => FLOWS[mnemonic] ?? (/^bc?\./.test(mnemonic) ? 'branch' : 'next')

const hexTarget = (operands: string): bigint | undefined => {
  const text = /(?:^|, )0x([0-9a-f]+)$/.exec(operands)?.[1]
  return text === undefined ? undefined : BigInt.asIntN(64, BigInt(`0x${text}`))
}

const BRANCHES: Readonly<Record<string, Form>> = {
  b: 'b',
  bl: 'bl',
  cbz: 'cbz',
  cbnz: 'cbz',
  tbz: 'tbz',
  tbnz: 'tbz',
  adr: 'adr',
  adrp: 'adrp',
}

describe.each(['instructions', 'sample-libc'])('%s', (name) => {
  const all = listing(name)

  test('is read', () => expect(all.length).toBeGreaterThan(90))

  test('every flow is what the mnemonic says', () => {
    for (const { word, mnemonic, address } of all)
      expect([address, mnemonic, decodeWord(word).flow]).toEqual([address, mnemonic, flowOf(mnemonic)])
  })

  test('distances lead where the disassembler says', () => {
    let checked = 0
    for (const { address, word, mnemonic, operands } of all) {
      const { form, distance } = decodeWord(word)
      const literal = /^(ldr|ldrsw|prfm)$/.test(mnemonic) && hexTarget(operands) !== undefined
      const expected = BRANCHES[mnemonic] ?? (/^bc?\./.test(mnemonic) ? 'b.cond' : literal ? 'ldr-literal' : undefined)
      if (expected === undefined) {
        expect([mnemonic, distance]).toEqual([mnemonic, undefined])
        continue
      }
      expect([mnemonic, form]).toEqual([mnemonic, expected])
      const place = form === 'adrp' ? address - (address % 4096) : address
      // In an object llvm-objdump writes what ADRP means without its distance.
      if (mnemonic === 'adrp' && name === 'instructions') continue
      expect([mnemonic, operands, BigInt(place) + BigInt(distance as number)]).toEqual([mnemonic, operands, hexTarget(operands)])
      checked++
    }
    expect(checked).toBeGreaterThan(20)
  })

  test('loads write what they load, and the register that they move; stores only the latter', () => {
    let checked = 0
    for (const { word, mnemonic, operands } of all) {
      const [, kind = '', pair] = /^(ld|st)(?:n?(p)(?:sw)?|u?r(?:s?[bhw])?|tr(?:s?[bhw])?)$/.exec(mnemonic) ?? []
      const general = (text = ''): number[] => (/^[wx]\d+$/.test(text) ? [Number(text.slice(1))] : [])
      const [first, second] = operands.split(', ')
      const base = /\[(x\d+)(?:, #-?\d+\]!|\], #-?\d+)/.exec(operands)?.[1]
      if (kind === '' || !operands.includes('[')) continue
      const loaded = kind === 'ld' ? [...general(first), ...(pair ? general(second) : [])] : []
      const written = new Set([...loaded, ...general(base)])
      // 31 is the stack pointer for an address, and nothing for a value.
      const told = Array.from({ length: 31 }, (_, register) => register).filter((register) => mayWrite(word, register))
      expect([mnemonic, operands, told]).toEqual([mnemonic, operands, [...written].sort((a, b) => a - b)])
      checked++
    }
    expect(checked).toBeGreaterThan(name === 'sample-libc' ? 100 : 5)
  })

  test('offsets of loads, stores and additions are in bytes', () => {
    for (const { word, mnemonic, operands } of all) {
      const offset = offsetOf(word)
      if (offset === undefined) continue
      const plain = mnemonic === 'mov' ? 0 : Number(/#(\d+)\]?$/.exec(operands)?.[1] ?? 0)
      expect([mnemonic, operands, offset]).toEqual([mnemonic, operands, plain])
    }
  })
})

test('ADRP reaches 4 GB both ways', () => {
  const [up, down] = listing('instructions').filter(({ mnemonic }) => mnemonic === 'adrp')
  // The assembler left these to a relocation: the field is empty, so here is what it would hold.
  expect([up?.word, down?.word]).toEqual([0x90000000, 0x9000001e])
  expect(decodeWord(0xf07fffe0).distance).toBe((2 ** 20 - 1) * 4096)
  expect(decodeWord(0x90800000).distance).toBe(-(2 ** 20) * 4096)
})

test('landing pads', () => {
  const named = (mnemonic: string, operands = ''): number =>
    listing('instructions').find((l) => l.mnemonic === mnemonic && l.operands === operands)?.word as number
  expect([named('bti', 'c'), named('bti', 'jc'), named('paciasp'), named('pacibsp')].map(isLandingPad)).toEqual([true, true, true, true])
  expect([named('bti', 'j'), named('bti'), named('nop'), named('autiasp')].map(isLandingPad)).toEqual([false, false, false, false])
  expect([named('paciasp'), named('pacibsp'), named('bti', 'c')].map(isSigning)).toEqual([true, true, false])
})

test('a load counts in what it loads', () => {
  const scales = listing('instructions').filter(({ word }) => decodeWord(word).form === 'load-store-offset')
  expect(
    scales.map(({ mnemonic, operands, word }) => `${mnemonic} ${operands.split(',')[0]} ${2 ** offsetScale(word)}`),
  ).toMatchInlineSnapshot(`
    [
      "str x19 8",
      "ldrb w0 1",
      "ldrh w0 2",
      "ldr w0 4",
      "ldr x0 8",
      "ldr b0 1",
      "ldr h0 2",
      "ldr s0 4",
      "ldr d0 8",
      "ldr q0 16",
      "strb w0 1",
      "str q0 16",
      "ldrsw x0 4",
      "ldrsb w0 1",
      "prfm pldl1keep 8",
    ]
  `)
})
