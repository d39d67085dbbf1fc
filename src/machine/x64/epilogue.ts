/**
 * Epilogues on Windows x64. Its unwind information (version 1) does not say where they are; instead their form is fixed: an optional
 * `add rsp, constant` or `lea rsp, [frame register + constant]`, pops of 8-byte registers, then `ret` or a jump out of the function.
 * Whoever stops a thread there must see it from the instructions, since the prologue has been taken back in part.
 */

/** DWARF numbers of the registers as instructions number them. */
const DWARF_REGISTERS = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15] as const

export interface EpilogueState {
  /** DWARF number of the register that the frame's end is counted from: rsp, or the frame register of a `lea`. */
  readonly register: number
  /** The return address lies at register + offset - 8, the CFA at register + offset. */
  readonly offset: number
  /** Pops that are still to come, as pairs: DWARF number, offset from the CFA. */
  readonly saved: readonly number[]
}

/**
 * What remains of an epilogue whose next instruction is at the start of `code`; undefined: that is no epilogue. A jump counts as its end
 * only when `leaves` says that its target (relative to the start of `code`) lies outside the function.
 */
export function epilogueAt(code: Uint8Array, leaves: (target: number) => boolean): EpilogueState | undefined {
  const { end, state } = takenBack(code)
  return endsFunction(code, end, leaves) ? state : undefined
}

/**
 * The same for code of any system, ended by a `ret` only: there the return address is on top of the stack whatever unwind data says, and
 * all registers that calls preserve are the caller's again. gcc's data of functions that realign their stack are wrong there by an instruction
 * or two.
 */
export function returnAt(code: Uint8Array): EpilogueState | undefined {
  const { end, state } = takenBack(code)
  return isReturn(code, end) ? state : undefined
}

/** What the instructions of an epilogue do that `code` begins with, up to the one at `end`. */
function takenBack(code: Uint8Array): { end: number; state: EpilogueState } {
  let at = 0
  let register = 7
  let offset = 0
  const byte = (i: number): number => code[i] ?? -1
  const i32 = (i: number): number => byte(i) | (byte(i + 1) << 8) | (byte(i + 2) << 16) | (byte(i + 3) << 24)

  // add rsp, imm8 | add rsp, imm32
  if (byte(0) === 0x48 && byte(1) === 0x83 && byte(2) === 0xc4) {
    offset = (byte(3) << 24) >> 24
    at = 4
  } else if (byte(0) === 0x48 && byte(1) === 0x81 && byte(2) === 0xc4) {
    offset = i32(3)
    at = 7
  } else if ((byte(0) & 0xfe) === 0x48 && byte(1) === 0x8d && (byte(2) & 0x38) === 0x20 && (byte(2) & 7) !== 4) {
    // lea rsp, [register + disp8 | disp32]
    const mode = byte(2) >> 6
    if (mode === 0 || mode === 3) return { end: code.length, state: { register, offset: 8, saved: [] } }
    register = DWARF_REGISTERS[(byte(2) & 7) | ((byte(0) & 1) << 3)] as number
    offset = mode === 1 ? (byte(3) << 24) >> 24 : i32(3)
    at = mode === 1 ? 4 : 7
  }

  const pops: [register: number, place: number][] = []
  for (;;) {
    const wide = byte(at) === 0x41 ? 1 : 0
    const opcode = byte(at + wide)
    if (opcode < 0x58 || opcode > 0x5f) break
    pops.push([DWARF_REGISTERS[(opcode & 7) | (wide << 3)] as number, offset])
    offset += 8
    at += 1 + wide
  }

  const cfa = offset + 8
  return { end: at, state: { register, offset: cfa, saved: pops.flatMap(([popped, place]) => [popped, place - cfa]) } }
}

/** ret | ret imm16 | rep ret */
const isReturn = (code: Uint8Array, at: number): boolean =>
  code[at] === 0xc3 || code[at] === 0xc2 || (code[at] === 0xf3 && code[at + 1] === 0xc3)

function endsFunction(code: Uint8Array, at: number, leaves: (target: number) => boolean): boolean {
  if (isReturn(code, at)) return true
  const [first = -1, second = -1] = code.subarray(at, at + 2)
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength)
  if (first === 0xeb && at + 2 <= code.length) return leaves(at + 2 + view.getInt8(at + 1))
  if (first === 0xe9 && at + 5 <= code.length) return leaves(at + 5 + view.getInt32(at + 1, true))
  // jmp [rip + disp32], with or without REX.W: a tail call through an import slot.
  return (first === 0xff && second === 0x25) || (first === 0x48 && second === 0xff && code[at + 2] === 0x25)
}

/** In bytes: FF /2 with a SIB byte and a displacement of 4 bytes. A REX prefix before it makes no difference here. */
export const LONGEST_CALL = 7

/** Whether the last instruction of `code`, which holds LONGEST_CALL bytes, can be a call. Other code may look the same. */
export function endsInCall(code: Uint8Array): boolean {
  if (code[code.length - 5] === 0xe8) return true
  return INDIRECT_CALLS.some(({ length, forms }) => {
    const modrm = code[code.length - length + 1] as number
    return code[code.length - length] === 0xff && (modrm & 0x38) === 0x10 && forms.some((form) => form(modrm >> 6, modrm & 7))
  })
}

/** By their lengths: which combinations of mod and r/m have it. */
const INDIRECT_CALLS: readonly { length: number; forms: readonly ((mod: number, rm: number) => boolean)[] }[] = [
  { length: 2, forms: [(mod, rm) => mod === 3 || (mod === 0 && rm !== 4 && rm !== 5)] },
  { length: 3, forms: [(mod, rm) => mod === 0 && rm === 4, (mod, rm) => mod === 1 && rm !== 4] },
  { length: 4, forms: [(mod, rm) => mod === 1 && rm === 4] },
  { length: 6, forms: [(mod, rm) => mod === 0 && rm === 5, (mod, rm) => mod === 2 && rm !== 4] },
  { length: 7, forms: [(mod, rm) => mod === 2 && rm === 4, (mod, rm) => mod === 0 && rm === 4] },
]
