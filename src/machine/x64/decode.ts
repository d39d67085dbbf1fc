/**
 * Decoding x64 code, through iced-x86. Its objects live in wasm memory and must be freed by hand; they do not leave this file:
 * what comes out are plain values. Loading it takes some 40 ms, so that happens at the first call and not at import.
 */
import { createRequire } from 'node:module'
import type * as Iced from 'iced-x86'

let loaded: typeof Iced | undefined

/** iced-x86 itself. The package is CommonJS and compiles its wasm when required: no promise is needed to load it late. */
function iced(): typeof Iced {
  loaded ??= createRequire(import.meta.url)('iced-x86') as typeof Iced
  return loaded
}

/** Where execution goes on after an instruction. */
export type Flow =
  | 'next'
  | 'jump'
  | 'jump-indirect'
  | 'branch'
  | 'return'
  | 'call'
  | 'call-indirect'
  /** `syscall`, `sysenter`: the kernel may go back to the instruction itself, to do it again. */
  | 'system-call'
  /** `int3`, `int n`. */
  | 'interrupt'
  /** `xbegin`, `xend`, `xabort`. */
  | 'transaction'
  /** `ud2` and its like: nothing comes after it. */
  | 'trap'

export interface Instruction {
  /** From the start of the code, in bytes. */
  readonly offset: number
  readonly length: number
  readonly flow: Flow
  /** Where a direct jump, branch or call leads, from the start of the code; may lie outside it. */
  readonly target: number | undefined
  /** Does nothing: any encoding of `nop`. */
  readonly nop: boolean
  /**
   * May be interrupted in its middle and then begins anew with other register contents: string instructions with a repeat prefix,
   * gathers and scatters.
   */
  readonly resumable: boolean
  /** What a RIP-relative operand addresses, from the start of the code. */
  readonly ripTarget: number | undefined
}

export interface Decoded {
  readonly instructions: readonly Instruction[]
  /** Offset of the first byte that begins no valid instruction (or one that the code cuts off). undefined: all was decoded. */
  readonly stoppedAt: number | undefined
}

/** The longest instruction there is, in bytes. */
const LONGEST = 15

/**
 * Decodes one instruction after the other: those that begin in [start, until), by default up to the end of the code; or up to the first
 * that is none. All offsets count from the start of the code.
 */
export function decode(code: Uint8Array, start = 0, until = code.length): Decoded {
  const { Decoder, DecoderOptions, Instruction: IcedInstruction, FlowControl, Mnemonic, OpKind } = iced()
  const flows: Readonly<Record<number, Flow>> = {
    [FlowControl.Next]: 'next',
    [FlowControl.UnconditionalBranch]: 'jump',
    [FlowControl.IndirectBranch]: 'jump-indirect',
    [FlowControl.ConditionalBranch]: 'branch',
    [FlowControl.Return]: 'return',
    [FlowControl.Call]: 'call',
    [FlowControl.IndirectCall]: 'call-indirect',
    [FlowControl.Interrupt]: 'interrupt',
    [FlowControl.XbeginXabortXend]: 'transaction',
    [FlowControl.Exception]: 'trap',
  }
  // Bytes are copied into wasm memory: no more than can be needed.
  const decoder = new Decoder(64, code.subarray(start, until + LONGEST), DecoderOptions.None)
  const current = new IcedInstruction()
  try {
    decoder.ip = BigInt(start)
    const instructions: Instruction[] = []
    for (let offset = start; offset < until && decoder.canDecode; offset += current.length) {
      decoder.decodeOut(current)
      if (current.isInvalid) return { instructions, stoppedAt: offset }
      const { mnemonic } = current
      const system = mnemonic === Mnemonic.Syscall || mnemonic === Mnemonic.Sysenter
      instructions.push({
        offset,
        length: current.length,
        flow: system ? 'system-call' : (flows[current.flowControl] ?? 'next'),
        target: current.op0Kind === OpKind.NearBranch64 ? Number(BigInt.asIntN(64, current.nearBranchTarget)) : undefined,
        nop: mnemonic === Mnemonic.Nop,
        resumable: current.isVsib || (current.isStringInstruction && (current.hasRepPrefix || current.hasRepnePrefix)),
        ripTarget: current.isIpRelMemoryOperand ? Number(BigInt.asIntN(64, current.ipRelMemoryAddress)) : undefined,
      })
    }
    return { instructions, stoppedAt: undefined }
  } finally {
    current.free()
    decoder.free()
  }
}

/** A displacement, immediate or branch distance as it stands in an instruction's bytes. */
export interface EncodedField {
  /** From the start of the code. */
  readonly offset: number
  /** In bytes. */
  readonly size: number
}

/** The displacement and immediates in the bytes of the instruction at `offset`; none where no instruction begins. */
export function encodedFields(code: Uint8Array, offset: number): EncodedField[] {
  const { Decoder, DecoderOptions } = iced()
  const decoder = new Decoder(64, code.subarray(offset, offset + LONGEST), DecoderOptions.None)
  const instruction = decoder.decode()
  const constants = decoder.getConstantOffsets(instruction)
  try {
    if (instruction.isInvalid) return []
    const fields: EncodedField[] = []
    if (constants.hasDisplacement) fields.push({ offset: offset + constants.displacementOffset, size: constants.displacementSize })
    if (constants.hasImmediate) fields.push({ offset: offset + constants.immediateOffset, size: constants.immediateSize })
    if (constants.hasImmediate2) fields.push({ offset: offset + constants.immediateOffset2, size: constants.immediateSize2 })
    return fields
  } finally {
    constants.free()
    instruction.free()
    decoder.free()
  }
}

/** The immediate operand of an instruction. */
export interface Immediate extends EncodedField {
  /** As the instruction uses it: extended to the size of its operation. */
  readonly value: bigint
  /** The instruction does nothing with it but putting it somewhere: `mov` to a register or to memory, `push`. */
  readonly loads: boolean
}

/** Of the instruction at `offset`; undefined: it has none, or more than one. Branch distances are no immediates. */
export function immediateOf(code: Uint8Array, offset: number): Immediate | undefined {
  const { Decoder, DecoderOptions, Mnemonic, OpKind } = iced()
  const decoder = new Decoder(64, code.subarray(offset, offset + LONGEST), DecoderOptions.None)
  const instruction = decoder.decode()
  const constants = decoder.getConstantOffsets(instruction)
  try {
    if (instruction.isInvalid || !constants.hasImmediate || constants.hasImmediate2) return undefined
    for (let operand = 0; operand < instruction.opCount; operand++) {
      const kind = instruction.opKind(operand)
      if (kind < OpKind.Immediate8 || kind > OpKind.Immediate32to64) continue
      const loads = instruction.mnemonic === Mnemonic.Mov || instruction.mnemonic === Mnemonic.Push
      const { immediateOffset, immediateSize } = constants
      return { offset: offset + immediateOffset, size: immediateSize, value: instruction.immediate(operand), loads }
    }
    return undefined
  } finally {
    constants.free()
    instruction.free()
    decoder.free()
  }
}

/** The register that the instruction at `offset` pushes or pops whole, where the ABIs of Linux and Windows both let it outlive calls. */
export function keptRegister(code: Uint8Array, offset: number, how: 'push' | 'pop'): number | undefined {
  const { Decoder, DecoderOptions, Mnemonic, Register } = iced()
  const decoder = new Decoder(64, code.subarray(offset, offset + LONGEST), DecoderOptions.None)
  const instruction = decoder.decode()
  try {
    const kept: readonly number[] = [Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15]
    const { mnemonic, op0Register } = instruction
    return mnemonic === (how === 'push' ? Mnemonic.Push : Mnemonic.Pop) && kept.includes(op0Register) ? op0Register : undefined
  } finally {
    instruction.free()
    decoder.free()
  }
}

/** What an instruction computes with. Registers are numbers that mean nothing but themselves, whatever part of them is used. */
export interface Operands {
  /** As the processor takes them: sign-extended to 64 bits. */
  readonly immediates: readonly bigint[]
  /** What `lea` adds. */
  readonly added: bigint | undefined
  /** Moves the stack pointer: the size of a frame, of nothing else. */
  readonly ofStack: boolean
  /** The register that is the first operand, which most instructions write. */
  readonly first: number | undefined
  /** The register that a memory operand, or an indirect call, goes through. */
  readonly through: number | undefined
}

const NO_OPERANDS: Operands = { immediates: [], added: undefined, ofStack: false, first: undefined, through: undefined }

/** Of the instruction at `offset`; nothing where none begins. */
export function operandsOf(code: Uint8Array, offset: number): Operands {
  const { Decoder, DecoderOptions, Mnemonic, OpKind, Register, RegisterExt } = iced()
  const decoder = new Decoder(64, code.subarray(offset, offset + LONGEST), DecoderOptions.None)
  const instruction = decoder.decode()
  try {
    if (instruction.isInvalid) return NO_OPERANDS
    const immediates: bigint[] = []
    for (let i = 0; i < instruction.opCount; i++) {
      const kind = instruction.opKind(i)
      if (kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64) immediates.push(BigInt.asIntN(64, instruction.immediate(i)))
    }
    const lea = instruction.mnemonic === Mnemonic.Lea && !instruction.isIpRelMemoryOperand
    const first = instruction.op0Kind === OpKind.Register ? RegisterExt.fullRegister(instruction.op0Register) : undefined
    const base = instruction.memoryBase === Register.None ? undefined : RegisterExt.fullRegister(instruction.memoryBase)
    return {
      immediates,
      added: lea ? BigInt.asIntN(64, instruction.memoryDisplacement) : undefined,
      ofStack: instruction.op0Register === Register.RSP,
      first,
      through: base ?? first,
    }
  } finally {
    instruction.free()
    decoder.free()
  }
}

/** One line of assembly for every instruction, in iced's Intel dialect: for people and tests, never for decisions. */
export function disassemble(code: Uint8Array, address: bigint): string[] {
  const { Decoder, DecoderOptions, Instruction: IcedInstruction, Formatter, FormatterSyntax } = iced()
  const decoder = new Decoder(64, code, DecoderOptions.None)
  const current = new IcedInstruction()
  const formatter = new Formatter(FormatterSyntax.Intel)
  try {
    decoder.ip = address
    const lines: string[] = []
    while (decoder.canDecode) {
      decoder.decodeOut(current)
      lines.push(formatter.format(current))
    }
    return lines
  } finally {
    formatter.free()
    current.free()
    decoder.free()
  }
}
