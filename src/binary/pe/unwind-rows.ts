/**
 * x64 unwind information as rows of call frame information, so that one stack walker serves both formats. Each step of the prologue begins a
 * row; the last row holds to the end of the function. Epilogues are not in it: version 1 does not describe them, a walker recognises
 * them by their instructions (machine/x64/epilogue.ts).
 */
import type { CfaRow, RegisterRule } from '../dwarf/cfa.ts'
import type { UnwindCode, UnwindInfo } from './unwind-x64.ts'

/** DWARF's number of each register, by the number that unwind codes give it. */
const DWARF_REGISTERS = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15] as const
const RSP = 7
const RETURN_ADDRESS = 16

/**
 * Rows relative to the function's begin. `chain` is the information of the function first, then of each record it continues, outermost
 * last: what a continued prologue did has been done in full.
 */
export function unwindRows(chain: readonly UnwindInfo[]): CfaRow[] {
  const [own, ...parents] = chain
  if (own === undefined) return [leafRow()]
  const steps = own.codes.flatMap((code) => (code.op === 'epilog' ? [] : [code.at]))
  const starts = [...new Set([0, ...steps])].sort((a, b) => a - b)
  return starts.map((start) => rowFor(start, [applied(own, start), ...parents.map((info) => applied(info, Number.POSITIVE_INFINITY))]))
}

/** Code that no record covers: it moved nothing, the return address is on top of the stack. */
export const leafRow = (): CfaRow => rowFor(0, [])

interface Applied {
  readonly codes: readonly UnwindCode[]
  readonly frameRegister: number | undefined
  readonly frameOffset: number
}

/** The codes whose instructions have run at `offset`, the last one first. `at` is the end of the instruction. */
const applied = ({ codes, frameRegister, frameOffset }: UnwindInfo, offset: number): Applied => ({
  codes: codes.filter((code) => code.op !== 'epilog' && code.at <= offset),
  frameRegister,
  frameOffset,
})

function rowFor(start: number, chain: readonly Applied[]): CfaRow {
  // Places are counted from `origin`: rsp as it is, or the frame register where one has been set.
  let origin = RSP
  let stack = 0
  let trap: { readonly rip: number; readonly rsp: number } | undefined
  const places = new Map<number, number>()
  for (const { codes, frameRegister, frameOffset } of chain) {
    const frameSet = frameRegister !== undefined && codes.some(({ op }) => op === 'set-frame')
    if (frameSet && origin === RSP) {
      origin = DWARF_REGISTERS[frameRegister] as number
      stack = -frameOffset
    }
    const fixed = stack
    for (const code of codes) {
      switch (code.op) {
        case 'push':
          keep(places, code.register, stack)
          stack += 8
          break
        case 'alloc':
          stack += code.size
          break
        case 'set-frame':
          stack = fixed
          break
        case 'save':
          keep(places, code.register, fixed + code.offset)
          break
        case 'machine-frame': {
          const frame = stack + (code.errorCode ? 8 : 0)
          trap = { rip: frame, rsp: frame + 24 }
          break
        }
      }
    }
  }
  if (trap !== undefined) return trapRow(start, origin, trap, places)
  const cfa = stack + 8
  const registers = new Map<number, RegisterRule>([[RETURN_ADDRESS, { kind: 'offset', offset: -8 }]])
  for (const [register, place] of places) registers.set(register, { kind: 'offset', offset: place - cfa })
  return { start, cfa: { kind: 'register', register: origin, offset: cfa }, registers, returnAddressSigned: false }
}

/** The innermost save of a register is the one to restore last: an outer frame's value is what its caller had. */
function keep(places: Map<number, number>, register: number, place: number): void {
  places.set(DWARF_REGISTERS[register] as number, place)
}

/** A frame that the processor pushed (an interrupt or a trap): it holds rip and rsp themselves. */
function trapRow(start: number, origin: number, trap: { rip: number; rsp: number }, places: ReadonlyMap<number, number>): CfaRow {
  const registers = new Map<number, RegisterRule>([
    [RETURN_ADDRESS, { kind: 'offset', offset: 0 }],
    [RSP, { kind: 'offset', offset: trap.rsp - trap.rip }],
  ])
  for (const [register, place] of places) registers.set(register, { kind: 'offset', offset: place - trap.rip })
  return { start, cfa: { kind: 'register', register: origin, offset: trap.rip }, registers, returnAddressSigned: false }
}
