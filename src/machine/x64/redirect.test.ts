import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RedirectPlan, RedirectRefusal, RedirectSite } from '../redirect.ts'
import { decode } from './decode.ts'
import { encodeRedirect, fallsThrough, planRedirect, recognizeRedirect } from './redirect.ts'
import { hex } from './testing/hex.ts'
import { listedFunction } from './testing/listing.ts'

const planned = (site: RedirectSite): RedirectPlan => {
  const plan = planRedirect(site)
  if ('refused' in plan) throw new Error(`${plan.refused}: ${plan.why}`)
  return plan
}

const refused = (site: RedirectSite): RedirectRefusal => {
  const plan = planRedirect(site)
  if (!('refused' in plan)) throw new Error(`planned as ${plan.kind}`)
  return plan
}

/** A function of these bytes, with nothing known of what is before it. */
const alone = (code: string, rest: Partial<RedirectSite> = {}): RedirectSite => {
  const bytes = hex(code)
  return { before: new Uint8Array(0), padding: 0, code: bytes, size: bytes.length, ...rest }
}

/** The same with 16 bytes of nops before it that are proven to be padding. */
const padded = (code: string, rest: Partial<RedirectSite> = {}): RedirectSite =>
  alone(code, { before: hex('90'.repeat(16)), padding: 16, ...rest })
/** With the least padding that serves. */
const narrow = (code: string): RedirectSite => padded(code, { padding: 5 })

/** Brief form: kind, offset and length of the switch, whether there is a jump in the padding, whether nothing need be stopped. */
const brief = (site: RedirectSite): string => {
  const plan = planRedirect(site)
  if ('refused' in plan) return plan.refused
  const {
    kind,
    prepare,
    switch: { offset, length },
    safeWhileRunning,
  } = plan
  return `${kind} ${offset}+${length}${prepare.length > 0 ? ' pad' : ''}${safeWhileRunning ? ' running' : ''}`
}

describe('functions that compilers made', () => {
  const functions = ['plain', 'empty', 'spin', 'calls', 'clear', 'fibonacci']
  const short = 'FUNCTION_TOO_SHORT'
  const unsafe = 'REDIRECT_UNSAFE'
  const first = 'first-bytes 0+5'
  const pad = 'padding 0+2 pad'
  const padRunning = 'padding 0+2 pad running'
  const nops = 'entry-nops 0+2 pad'
  const nopsRunning = 'entry-nops 0+2 pad running'
  it.each([
    // The first function has nothing before it; `spin` loops to its entry unless something lies before the loop.
    ['gcc-12-O2', [first, short, unsafe, pad, padRunning, padRunning]],
    [
      'gcc-12-O2-cet',
      ['first-bytes 4+5', short, 'entry-nops 4+2 pad running', 'first-bytes 4+5', 'padding 4+2 pad running', 'padding 4+2 pad running'],
    ],
    ['gcc-12-O2-patchable-18-16', [nops, nops, nops, nops, nops, nops]],
    [
      'gcc-12-O2-patchable-5',
      ['entry-nops 4+5', 'entry-nops 4+2 pad', 'entry-nops 4+2 pad', 'entry-nops 4+2 pad', 'entry-nops 4+5', 'entry-nops 4+5'],
    ],
    ['gcc-12-Os-rep', [first, short, unsafe, first, first, first]],
    ['clang-19-O2', [first, short, unsafe, pad, padRunning, pad]],
    ['clang-19-O2-patchable-18-16', Array(6).fill(nopsRunning)],
    [
      'clang-19-O2-patchable-5',
      ['entry-nops 4+5 running', ...Array(3).fill('entry-nops 4+2 pad running'), 'entry-nops 4+5 running', 'entry-nops 4+5 running'],
    ],
    ['mingw-12-O2', [first, short, unsafe, pad, first, first]],
    ['mingw-12-O2-patchable-18-16', [nops, nops, nops, nops, nops, nops]],
    ['clang-19-mingw-O2-ms-hotpatch', [first, nopsRunning, nopsRunning, nopsRunning, padRunning, nopsRunning]],
  ])('%s', (fixture, expected) => {
    expect(functions.map((name) => brief(listedFunction(fixture, name)))).toEqual(expected)
  })

  it('without proof of what is before them, no padding is used', () => {
    const kinds = functions.map((name) => brief({ ...listedFunction('clang-19-O2-patchable-18-16', name), padding: 0 }))
    expect(kinds).toEqual([first, short, 'entry-nops 0+5', first, first, first])
  })
})

describe('padding', () => {
  it.each([
    ['90 90 90 90 90', 'nops'],
    ['cc cc cc cc cc', 'int3'],
    ['0f 1f 44 00 00', 'a 5-byte nop'],
    ['66 0f 1f 44 00 00', 'a 6-byte nop, whose last 5 bytes are used'],
    ['66 66 2e 0f 1f 84 00 00 00 00 00', 'an 11-byte nop'],
    ['cc 90 66 90 cc 90', 'a mixture'],
    ['c3 cc cc cc cc cc', 'int3 behind the end of what was taken for padding'],
  ])('%s: %s', (before, _) => {
    const bytes = hex(before)
    expect(brief(alone('48 89 f8 c3', { before: bytes, padding: bytes.length }))).toBe('padding 0+2 pad running')
  })

  it.each([
    ['90 90 90 90', 4, 'too few'],
    ['90 90 90 90 90', 4, 'too few are proven'],
    ['e9 00 00 00 00', 5, "another tool's jump"],
    ['00 00 00 00 00', 5, 'data'],
    ['90 90 90 c3 90', 5, 'code'],
    ['48 8d b4 26 00 00 00 00', 8, 'an lea that does nothing, but no nop'],
  ])('%s of which %i: not used (%s)', (before, padding, _) => {
    expect(brief(alone('48 89 f8 c3', { before: hex(before), padding }))).toBe('FUNCTION_TOO_SHORT')
  })

  it('serves functions that are too short for a 5-byte jump', () => {
    expect(brief(padded('31 c0 c3'))).toBe('padding 0+2 pad running')
    expect(brief(padded('f3 0f 1e fa 31 c0 c3'))).toBe('padding 4+2 pad running')
    expect(brief(padded('90 c3'))).toBe('padding 0+2 pad')
    expect(brief(padded('c3'))).toBe('FUNCTION_TOO_SHORT')
    expect(brief(padded('f3 0f 1e fa c3'))).toBe('FUNCTION_TOO_SHORT')
  })

  it('guards the second instruction where the first has one byte', () => {
    expect(planned(padded('53 89 fb 5b c3'))).toEqual({
      kind: 'padding',
      prepare: [{ offset: -6, length: 6 }],
      switch: { offset: 0, length: 2 },
      guard: [{ start: 0, end: 2 }],
      undoGuard: [{ start: -6, end: 0 }],
      safeWhileRunning: false,
    })
  })
})

describe('what is refused', () => {
  const shortness: [string, string][] = [
    ['48 31 c0 c3', 'has 4 bytes, a jump takes 5, and there is no padding of 5 bytes before it'],
    ['f3 0f 1e fa 48 31 c0 c3', 'has 4 bytes behind its endbr64, a jump takes 5, and there is no padding of 5 bytes before it'],
  ]
  it.each(shortness)('%s is too short', (code, why) => {
    expect(refused(alone(code))).toEqual({ refused: 'FUNCTION_TOO_SHORT', why })
  })

  it('5 bytes are enough', () => {
    expect(brief(alone('48 31 c0 90 c3'))).toBe('first-bytes 0+5')
    expect(brief(alone('f3 0f 1e fa 48 31 c0 90 c3'))).toBe('first-bytes 4+5')
  })

  // 83 c0 01: add eax,1 (offset 0); ff c9: dec ecx (3); 75 xx: jnz (5).
  it.each([
    ['75 f9', 'REDIRECT_UNSAFE', 0],
    ['75 fc', 'REDIRECT_UNSAFE', 3],
    ['75 fd', 'REDIRECT_UNSAFE', 4],
    ['75 fe', 'first-bytes 0+5', 5],
    ['75 f8', 'first-bytes 0+5', -1],
    ['eb f9', 'REDIRECT_UNSAFE', 0],
    ['e3 fc', 'REDIRECT_UNSAFE', 3],
    ['e2 fc', 'REDIRECT_UNSAFE', 3],
  ])('a jump back, %s, gives %s: it goes to offset %i', (jump, expected) => {
    expect(brief(alone(`83 c0 01 ff c9 ${jump} c3`))).toBe(expected)
  })

  it('a loop to the entry is unsafe for a jump from padding, one behind it is not', () => {
    expect(brief(padded('83 c0 01 ff c9 75 f9 c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(padded('83 c0 01 ff c9 75 fc c3'))).toBe('padding 0+2 pad running')
    // 66 90 at the entry, the loop goes to what is behind it.
    expect(brief(padded('66 90 83 c0 01 ff c9 75 f9 c3'))).toBe('entry-nops 0+2 pad running')
  })

  it('a call of itself at the end is no loop: the entry saves a register, the jump comes behind its restoration', () => {
    // push r15; mov r15,rcx; add rsp,8; pop rbx; pop r15; jmp to the entry
    expect(brief(alone('41 57 49 89 cf 48 83 c4 08 5b 41 5f eb f2'))).toBe('first-bytes 0+5')
    expect(brief(padded('f3 0f 1e fa 41 57 49 89 cf 41 5f eb f3'))).toBe('padding 4+2 pad running')
    expect(brief(padded('f3 0f 1e fa 41 57 49 89 cf 41 5f eb f8'))).toBe('REDIRECT_UNSAFE')
  })

  it.each([
    ['another register is restored last', '41 57 49 89 cf 41 5e eb f7'],
    ['the push is an argument: rdi', '57 48 89 f7 90 5f eb f8'],
    ['the push is an argument: a constant', '6a 07 49 89 cf 5a eb f8'],
    ['a branch', '41 57 49 89 cf 41 5f 75 f7'],
    ['a jump behind the save', '41 57 49 89 cf 41 5f eb f9'],
    ['something comes between', '41 57 49 89 cf 41 5f 90 eb f6'],
  ])('is a loop: %s', (_, code) => {
    expect(brief(alone(code))).toBe('REDIRECT_UNSAFE')
  })

  it('a jump to an endbr64 runs into what is behind it', () => {
    // Back to 0, to 4, and to 6 (behind the 2 bytes of the short jump).
    expect(brief(padded('f3 0f 1e fa 31 c0 ff c9 75 f6 c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(padded('f3 0f 1e fa 31 c0 ff c9 75 fa c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(padded('f3 0f 1e fa 31 c0 ff c9 75 fc c3'))).toBe('padding 4+2 pad running')
  })

  it('says where a jump back comes from and goes to', () => {
    expect(refused(alone('83 c0 01 ff c9 75 f9 c3')).why).toBe(
      'jumps back from offset 5 to its entry, and bytes 0 to 4 would be overwritten',
    )
    expect(refused(alone('83 c0 01 ff c9 75 fc c3')).why).toBe(
      'jumps back from offset 5 to offset 3, and bytes 0 to 4 would be overwritten',
    )
  })

  it.each([0, 1, 4])('a jump table that leads to offset %i', (target) => {
    expect(brief(alone('48 89 f8 48 89 f8 c3', { branchTargets: [6, target] }))).toBe('REDIRECT_UNSAFE')
  })

  it('not a jump table that leads behind the overwritten bytes', () => {
    expect(brief(alone('48 89 f8 48 89 f8 c3', { branchTargets: [5, 6, -1] }))).toBe('first-bytes 0+5')
  })

  it('a call that returns into the overwritten bytes', () => {
    expect(refused(alone('ff d0 90 90 90 c3')).why).toBe('calls at offset 0 and returns into the bytes 0 to 4 that would be overwritten')
    expect(brief(alone('ff 50 08 90 90 c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('90 90 ff d0 90 c3'))).toBe('REDIRECT_UNSAFE')
    // Returns to the first byte that stays.
    expect(brief(alone('90 90 90 ff d0 c3'))).toBe('first-bytes 0+5')
    expect(brief(alone('e8 00 01 00 00 c3'))).toBe('first-bytes 0+5 running')
    expect(brief(alone('53 e8 00 01 00 00 c3'))).toBe('first-bytes 0+5')
    expect(brief(padded('ff d0 c3'))).toBe('padding 0+2 pad running')
  })

  it('a call into its own first bytes, but not recursion', () => {
    expect(brief(alone('31 c0 31 db 90 e8 f8 ff ff ff c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('31 c0 31 db 90 e8 f6 ff ff ff c3'))).toBe('first-bytes 0+5')
  })

  it('an address taken in its first bytes, but not that of its entry', () => {
    expect(brief(alone('31 c0 31 db 90 48 8d 05 f6 ff ff ff c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('31 c0 31 db 90 48 8d 05 f4 ff ff ff c3'))).toBe('first-bytes 0+5')
  })

  it('a system call among the overwritten instructions', () => {
    expect(brief(alone('0f 05 c3 90 90'))).toBe('REDIRECT_UNSAFE')
    expect(brief(padded('0f 05 c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('31 c0 90 0f 05 c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('cd 80 c3 90 90'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('b8 6e 00 00 00 0f 05 c3'))).toBe('first-bytes 0+5 running')
  })

  it('a breakpoint at the entry, but not filling behind a short body', () => {
    expect(brief(alone('cc 48 89 f8 c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('31 c0 c3 cc cc'))).toBe('first-bytes 0+5')
  })

  it('an instruction at the entry that can be interrupted in its middle', () => {
    expect(brief(alone('f3 48 ab c3 90 90'))).toBe('REDIRECT_UNSAFE')
    expect(brief(padded('f3 aa c3'))).toBe('REDIRECT_UNSAFE')
    expect(brief(alone('aa aa aa aa aa c3'))).toBe('first-bytes 0+5')
  })

  it('code that cannot be decoded, to its end', () => {
    expect(refused(alone('48 89 f8 48 89 f8 06 c3'))).toEqual({ refused: 'UNDECODABLE', why: 'cannot be decoded at offset 6 of 8' })
    expect(brief(padded('48 89 f8 48 89 f8 e9 00'))).toBe('UNDECODABLE')
    expect(brief(alone('48 89 f8 48 89 f8 c3', { size: 8 }))).toBe('UNDECODABLE')
    expect(brief(alone('', { size: 0 }))).toBe('FUNCTION_TOO_SHORT')
  })

  it('what lies behind the function is not looked at', () => {
    expect(brief(alone('48 89 f8 90 c3 06 eb f8', { size: 5 }))).toBe('first-bytes 0+5')
  })
})

describe('encodeRedirect', () => {
  const entry = 0x7f12_3456_7890n

  it('from 5 bytes of padding: E9 to the stub before the entry, EB F9 over it', () => {
    expect(encodeRedirect(planned(narrow('48 89 f8 c3')), entry, entry + 0x1000n)).toEqual({
      prepare: [{ address: entry - 5n, bytes: hex('e9 00 10 00 00') }],
      switch: { address: entry, bytes: hex('eb f9'), atomic: true },
    })
  })

  it('from 6 bytes: FF 25 through the pointer of the stub, EB F8', () => {
    expect(encodeRedirect(planned(padded('48 89 f8 c3')), entry, entry + 0x1000n)).toEqual({
      prepare: [{ address: entry - 6n, bytes: hex('ff 25 00 20 00 00') }],
      switch: { address: entry, bytes: hex('eb f8'), atomic: true },
    })
  })

  it('behind an endbr64: EB F5, EB F4', () => {
    expect(encodeRedirect(planned(narrow('f3 0f 1e fa 48 89 f8 c3')), entry, entry - 0x1000n)).toEqual({
      prepare: [{ address: entry - 5n, bytes: hex('e9 00 f0 ff ff') }],
      switch: { address: entry + 4n, bytes: hex('eb f5'), atomic: true },
    })
    expect(encodeRedirect(planned(padded('f3 0f 1e fa 48 89 f8 c3')), entry, entry - 0x1000n)).toEqual({
      prepare: [{ address: entry - 6n, bytes: hex('ff 25 00 00 00 00') }],
      switch: { address: entry + 4n, bytes: hex('eb f4'), atomic: true },
    })
  })

  it('over the first bytes: E9', () => {
    expect(encodeRedirect(planned(alone('48 89 f8 90 c3')), entry, entry + 0x1005n)).toEqual({
      prepare: [],
      switch: { address: entry, bytes: hex('e9 00 10 00 00'), atomic: true },
    })
  })

  it.each([
    ['48 89 f8 90 c3', [true, true, true, true, false, false, false, false]],
    ['f3 0f 1e fa 48 89 f8 90 c3', [false, false, false, false, true, true, true, true]],
  ])('%s: says at which alignments one aligned store writes it', (code, atomic) => {
    const plan = planned(alone(code))
    expect(atomic.map((_, i) => encodeRedirect(plan, 0x1000n + BigInt(i), 0x5000n).switch.atomic)).toEqual(atomic)
  })

  it('a 2-byte switch is atomic but across two words', () => {
    const plan = planned(padded('48 89 f8 c3'))
    const atomic = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => encodeRedirect(plan, 0x1000n + BigInt(i), 0x5000n).switch.atomic)
    expect(atomic).toEqual([true, true, true, true, true, true, true, false])
  })

  it('reaches to the last byte and no further', () => {
    const near = planned(alone('48 89 f8 90 c3'))
    expect(encodeRedirect(near, entry, entry + 5n + 0x7fff_ffffn).switch.bytes).toEqual(hex('e9 ff ff ff 7f'))
    expect(encodeRedirect(near, entry, entry + 5n - 0x8000_0000n).switch.bytes).toEqual(hex('e9 00 00 00 80'))
    const padding = planned(narrow('48 89 f8 c3'))
    expect(encodeRedirect(padding, entry, entry + 0x7fff_ffffn).prepare[0]?.bytes).toEqual(hex('e9 ff ff ff 7f'))
    expect(encodeRedirect(padding, entry, entry - 0x8000_0000n).prepare[0]?.bytes).toEqual(hex('e9 00 00 00 80'))
    const wide = planned(padded('48 89 f8 c3'))
    expect(encodeRedirect(wide, entry, entry + 0x7fff_ffffn - 0x1000n).prepare[0]?.bytes).toEqual(hex('ff 25 ff ff ff 7f'))
    expect(encodeRedirect(wide, entry, entry - 0x8000_0000n - 0x1000n).prepare[0]?.bytes).toEqual(hex('ff 25 00 00 00 80'))
    const beyond: [RedirectPlan, bigint][] = [
      [near, entry + 5n + 0x8000_0000n],
      [near, entry + 5n - 0x8000_0001n],
      [padding, entry + 0x8000_0000n],
      [padding, entry - 0x8000_0001n],
      [wide, entry + 0x8000_0000n - 0x1000n],
      [wide, entry - 0x8000_0001n - 0x1000n],
    ]
    for (const [plan, stub] of beyond)
      expect(() => encodeRedirect(plan, entry, stub)).toThrowError(expect.objectContaining({ code: 'REDIRECT_OUT_OF_REACH' }))
  })
})

/** Follows jumps from the entry, as a processor would, until they leave the memory; through a pointer: to the stub that it belongs to. */
function follow(memory: Uint8Array, base: bigint, entry: bigint): bigint {
  let at = entry
  for (let steps = 0; steps < 8; steps++) {
    const offset = Number(at - base)
    if (offset < 0 || offset >= memory.length) return at
    const instruction = decode(memory, offset).instructions[0]
    if (instruction === undefined) throw new Error(`nothing to execute at ${at}`)
    if (instruction.ripTarget !== undefined && instruction.flow === 'jump-indirect') return base + BigInt(instruction.ripTarget) - 0x1000n
    at = base + BigInt(instruction.flow === 'jump' ? (instruction.target as number) : offset + instruction.length)
    if (instruction.flow !== 'jump' && instruction.length !== 4) throw new Error(`not a jump at ${offset}`)
  }
  throw new Error('runs in circles')
}

describe('a redirected entry', () => {
  const codes = ['48 89 f8 90 c3', 'f3 0f 1e fa 48 89 f8 90 c3', '66 90 48 89 f8 c3', '90 90 48 89 f8 c3', '0f 1f 44 00 00 c3']
  const site = fc.record({ code: fc.constantFrom(...codes), pad: fc.constantFrom('90', 'cc', 'none'), width: fc.constantFrom(5, 6, 32) })

  it('leads to the stub, leaves all other bytes alone, and is recognized', () => {
    fc.assert(
      fc.property(
        site,
        fc.bigInt(0x1_0000_0000n, 0x7fff_0000_0000n),
        fc.integer({ min: -0x7fff_ff00, max: 0x7fff_ef00 }),
        (s, entry, rel) => {
          fc.pre(rel < -100 || rel > 100)
          const before = hex((s.pad === 'none' ? 'c3' : s.pad).repeat(32))
          const code = hex(s.code)
          const plan = planned({ before, code, size: code.length, padding: s.pad === 'none' ? 0 : s.width })
          const memory = Uint8Array.from([...before, ...code])
          const base = entry - 32n
          const stub = entry + BigInt(rel)
          const encoded = encodeRedirect(plan, entry, stub)

          const allowed = new Set<number>()
          const writes: [{ offset: number; length: number }, { address: bigint; bytes: Uint8Array }][] = [[plan.switch, encoded.switch]]
          plan.prepare.forEach((p, i) => {
            writes.push([p, encoded.prepare[i] as { address: bigint; bytes: Uint8Array }])
          })
          for (const [write, { address, bytes }] of writes) {
            expect([address, bytes.length]).toEqual([entry + BigInt(write.offset), write.length])
            for (let i = 0; i < write.length; i++) allowed.add(32 + write.offset + i)
            memory.set(bytes, Number(address - base))
          }
          expect(follow(memory, base, entry)).toBe(stub)
          memory.forEach((byte, i) => {
            if (!allowed.has(i)) expect(byte).toBe(i < 32 ? before[i] : code[i - 32])
          })
          const seen = recognizeRedirect({ before: memory.subarray(0, 32), code: memory.subarray(32) })
          expect(seen).toEqual({ offset: plan.switch.offset, length: plan.switch.length, target: rel })
        },
      ),
    )
  })

  it('is not seen where there is none', () => {
    for (const code of ['48 89 f8 c3', 'eb 05 90', 'eb f9', 'e9 00 00', 'eb', '', 'f3 0f 1e fa', 'f3 0f 1e fa eb'])
      expect(recognizeRedirect({ before: hex('90 90 90 90 90'), code: hex(code) })).toBeUndefined()
    expect(recognizeRedirect({ before: hex('90'), code: hex('eb f9') })).toBeUndefined()
  })

  it('any bytes get a plan or a refusal', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 48 }),
        fc.uint8Array({ maxLength: 32 }),
        fc.nat(40),
        fc.nat(64),
        (code, before, padding, size) => {
          const plan = planRedirect({ code, before, padding, size })
          if ('refused' in plan) return
          expect(plan.switch.offset + plan.switch.length).toBeLessThanOrEqual(size)
          for (const write of plan.prepare) expect(-write.offset).toBeLessThanOrEqual(Math.min(padding, before.length))
        },
      ),
    )
  })
})

describe('fallsThrough', () => {
  it.each([
    ['48 89 f8 c3', false],
    ['48 89 f8 c3 90 90', false],
    ['48 89 f8 e9 00 01 00 00', false],
    ['ff e0', false],
    ['e8 00 01 00 00', false],
    ['0f 0b', false],
    ['cd 29', false],
    ['48 89 f8', true],
    ['48 89 f8 90', true],
    ['74 10', true],
    ['', true],
    ['90 cc', true],
    ['c3 06', true],
  ])('%s: %s', (code, expected) => {
    expect(fallsThrough(hex(code))).toBe(expected)
  })
})
