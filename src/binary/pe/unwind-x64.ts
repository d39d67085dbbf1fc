/**
 * UNWIND_INFO of x64: how to take back what a function's prologue did. From the "x64 exception handling" page of the Windows
 * documentation; version 2 adds descriptors of epilogues.
 */
import { HotpatchError } from '../../errors.ts'
import { type Of, struct, u8, viewOf } from '../struct.ts'
import { RuntimeFunction } from './definitions.ts'

export const UnwindInfoHeader = struct('UNWIND_INFO', {
  /** Version in bits 0 to 2, flags in bits 3 to 7. */
  VersionAndFlags: u8,
  SizeOfProlog: u8,
  /** 16-bit slots, operands counted. */
  CountOfCodes: u8,
  /** FrameRegister in bits 0 to 3, FrameOffset / 16 in bits 4 to 7. */
  FrameRegisterAndOffset: u8,
})

export const UnwindCodeSlot = struct('UNWIND_CODE', {
  CodeOffset: u8,
  /** UnwindOp in bits 0 to 3, OpInfo in bits 4 to 7. */
  UnwindOpAndInfo: u8,
})

export const UNW_FLAG = { EHANDLER: 1, UHANDLER: 2, CHAININFO: 4 } as const

export const UWOP = {
  PUSH_NONVOL: 0,
  ALLOC_LARGE: 1,
  ALLOC_SMALL: 2,
  SET_FPREG: 3,
  SAVE_NONVOL: 4,
  SAVE_NONVOL_FAR: 5,
  EPILOG: 6,
  SPARE_CODE: 7,
  SAVE_XMM128: 8,
  SAVE_XMM128_FAR: 9,
  PUSH_MACHFRAME: 10,
} as const

/** Registers as unwind codes number them. */
export const UNWIND_REGISTERS = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
] as const // biome-ignore format: a table

/** `at`: offset of the end of the instruction from the function's begin, in bytes. Registers are numbers, sizes bytes. */
export type UnwindCode =
  | { readonly op: 'push'; readonly at: number; readonly register: number }
  | { readonly op: 'alloc'; readonly at: number; readonly size: number }
  /** The frame register := rsp + UnwindInfo.frameOffset. */
  | { readonly op: 'set-frame'; readonly at: number }
  /** Saved at rsp + offset, rsp being that after the prologue's allocation. */
  | { readonly op: 'save'; readonly at: number; readonly register: number; readonly offset: number }
  | { readonly op: 'save-xmm'; readonly at: number; readonly register: number; readonly offset: number }
  /** Version 2. The first describes size (`value`) and whether an epilogue ends the function; later ones the distance from the end. */
  | { readonly op: 'epilog'; readonly first: boolean; readonly atEnd: boolean; readonly value: number }
  | { readonly op: 'machine-frame'; readonly at: number; readonly errorCode: boolean }

export interface UnwindInfo {
  readonly version: number
  /** UNW_FLAG. */
  readonly flags: number
  readonly prologSize: number
  /** undefined: rsp is the frame. */
  readonly frameRegister: number | undefined
  /** Bytes. */
  readonly frameOffset: number
  /** In file order: the last step of the prologue first. */
  readonly codes: readonly UnwindCode[]
  /** `dataRva`: where the handler's own data begins. */
  readonly handler: { readonly rva: number; readonly dataRva: number } | undefined
  /** The record that this one continues. */
  readonly chained: Of<typeof RuntimeFunction> | undefined
  /** Bytes from the header to the end of the fixed part (handler's data excluded). */
  readonly size: number
}

type ReadRva = (rva: number, length: number) => Uint8Array

/**
 * The unwind information at `rva`. `read` gives bytes of the image by RVA. Throws MALFORMED, and what `read` throws.
 * An odd UnwindData RVA in a RUNTIME_FUNCTION points at another RUNTIME_FUNCTION; the caller follows it.
 */
export function readUnwindInfo(read: ReadRva, rva: number): UnwindInfo {
  const header = UnwindInfoHeader.readAt(read(rva, UnwindInfoHeader.size), 0)
  const version = header.VersionAndFlags & 7
  const flags = header.VersionAndFlags >> 3
  if (version !== 1 && version !== 2) throw new HotpatchError('MALFORMED', `unwind information of version ${version}`)
  const codesSize = header.CountOfCodes * UnwindCodeSlot.size
  const codes = readCodes(read(rva + UnwindInfoHeader.size, codesSize), version)
  // What follows is aligned: an unused slot fills an odd count.
  const tail = rva + UnwindInfoHeader.size + ((codesSize + 3) & ~3)
  const chained = (flags & UNW_FLAG.CHAININFO) !== 0
  const handled = !chained && (flags & (UNW_FLAG.EHANDLER | UNW_FLAG.UHANDLER)) !== 0
  const frameRegister = header.FrameRegisterAndOffset & 15
  return {
    version,
    flags,
    prologSize: header.SizeOfProlog,
    frameRegister: frameRegister === 0 ? undefined : frameRegister,
    frameOffset: (header.FrameRegisterAndOffset >> 4) * 16,
    codes,
    handler: handled ? { rva: viewOf(read(tail, 4)).getUint32(0, true), dataRva: tail + 4 } : undefined,
    chained: chained ? RuntimeFunction.readAt(read(tail, RuntimeFunction.size), 0) : undefined,
    size: tail - rva + (chained ? RuntimeFunction.size : handled ? 4 : 0),
  }
}

function readCodes(data: Uint8Array, version: number): UnwindCode[] {
  const codes: UnwindCode[] = []
  const view = viewOf(data)
  const slots = data.length / UnwindCodeSlot.size
  let epilogs = 0
  for (let i = 0; i < slots; ) {
    const at = view.getUint8(i * 2)
    const op = view.getUint8(i * 2 + 1) & 15
    const info = view.getUint8(i * 2 + 1) >> 4
    const operand = (count: 1 | 2): number => {
      if (i + count >= slots) throw new HotpatchError('MALFORMED', `unwind code ${op} at slot ${i} has no room for its operand`)
      return count === 1 ? view.getUint16(i * 2 + 2, true) : view.getUint32(i * 2 + 2, true)
    }
    switch (op) {
      case UWOP.PUSH_NONVOL:
        codes.push({ op: 'push', at, register: info })
        i += 1
        break
      case UWOP.ALLOC_LARGE:
        if (info > 1) throw new HotpatchError('MALFORMED', `UWOP_ALLOC_LARGE of form ${info}`)
        codes.push({ op: 'alloc', at, size: info === 0 ? operand(1) * 8 : operand(2) })
        i += 2 + info
        break
      case UWOP.ALLOC_SMALL:
        codes.push({ op: 'alloc', at, size: info * 8 + 8 })
        i += 1
        break
      case UWOP.SET_FPREG:
        codes.push({ op: 'set-frame', at })
        i += 1
        break
      case UWOP.SAVE_NONVOL:
        codes.push({ op: 'save', at, register: info, offset: operand(1) * 8 })
        i += 2
        break
      case UWOP.SAVE_NONVOL_FAR:
        codes.push({ op: 'save', at, register: info, offset: operand(2) })
        i += 3
        break
      case UWOP.EPILOG:
        if (version !== 2) throw new HotpatchError('MALFORMED', 'UWOP_EPILOG in unwind information of version 1')
        codes.push(
          epilogs === 0
            ? { op: 'epilog', first: true, atEnd: (info & 1) !== 0, value: at }
            : { op: 'epilog', first: false, atEnd: false, value: at + info * 256 },
        )
        epilogs++
        i += 1
        break
      case UWOP.SAVE_XMM128:
        codes.push({ op: 'save-xmm', at, register: info, offset: operand(1) * 16 })
        i += 2
        break
      case UWOP.SAVE_XMM128_FAR:
        codes.push({ op: 'save-xmm', at, register: info, offset: operand(2) })
        i += 3
        break
      case UWOP.PUSH_MACHFRAME:
        codes.push({ op: 'machine-frame', at, errorCode: info !== 0 })
        i += 1
        break
      default:
        throw new HotpatchError('MALFORMED', `unwind code ${op} at slot ${i}`)
    }
  }
  return codes
}
