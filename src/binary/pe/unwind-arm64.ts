/**
 * Unwind information of ARM64 images: records of .pdata, and .xdata. From the "ARM64 exception handling" page of the Windows documentation.
 * A code stands for one instruction of a prologue or epilogue; codes lie in the order in which a prologue is taken back.
 */
import { HotpatchError } from '../../errors.ts'
import { type Of, struct, u32, viewOf } from '../struct.ts'

/** A record of the exception directory. Flag in bits 0 and 1 of UnwindData; with flag 0 it is the RVA of .xdata. */
export const Arm64RuntimeFunction = struct('IMAGE_ARM64_RUNTIME_FUNCTION_ENTRY', { BeginAddress: u32, UnwindData: u32 })

export type Arm64Record = Of<typeof Arm64RuntimeFunction>

export const ARM64_FLAG = { XDATA: 0, PACKED: 1, PACKED_FRAGMENT: 2 } as const

/** Sizes and offsets in bytes, offsets from sp as it is when the code's instruction has been executed. Registers: n of Xn or Dn. */
export type Arm64Code =
  | { readonly op: 'alloc'; readonly size: number }
  /** sub sp, sp, #(count * the length of a scalable vector): how long that is, only the process can tell. */
  | { readonly op: 'alloc-scalable'; readonly count: number }
  /** Stored at [sp, #offset]; `writeBack`: at [sp, #-offset]!, which lowers the stack. `registers` in the order of their places. */
  | {
      readonly op: 'save'
      readonly registers: readonly number[]
      readonly kind: SavedKind
      readonly offset: number
      readonly writeBack: boolean
    }
  /** The next pair of registers behind that of the code after this one, in the 16 bytes behind it. */
  | { readonly op: 'save-next' }
  /** Scalable vectors and predicates: where they lie does not matter, they hold no addresses. */
  | { readonly op: 'save-scalable'; readonly register: number; readonly predicate: boolean; readonly offset: number }
  /** x29 := sp + offset. */
  | { readonly op: 'set-frame'; readonly offset: number }
  | { readonly op: 'nop' }
  /** The return address is signed. */
  | { readonly op: 'sign' }
  /** sp leads to what the kernel has put there: see CUSTOM. */
  | { readonly op: CustomFrame }
  | { readonly op: 'end' }
  /** No instruction of this fragment comes before: what follows was done elsewhere. */
  | { readonly op: 'end-chained' }

/** General, floating-point (64 bits), vector (128 bits). */
export type SavedKind = 'x' | 'd' | 'q'
export type CustomFrame = 'trap-frame' | 'machine-frame' | 'context' | 'ec-context' | 'clear-unwound'

export interface Arm64Unwind {
  /** Bytes. */
  readonly functionLength: number
  /** Of the prologue, to the end of the list. */
  readonly codes: readonly Arm64Code[]
  readonly epilogues: readonly Arm64Epilogue[]
  /** `dataRva`: where the handler's own data begins. */
  readonly handler: { readonly rva: number; readonly dataRva: number } | undefined
  /** Bytes of .xdata, the handler's data excluded; 0 for packed ones. */
  readonly size: number
}

export interface Arm64Epilogue {
  /** Of its first instruction, from the function's begin, in bytes. */
  readonly start: number
  /** From its first code to the end of the list. */
  readonly codes: readonly Arm64Code[]
}

type ReadRva = (rva: number, length: number) => Uint8Array

const bits = (word: number, low: number, width: number): number => (word >>> low) & (2 ** width - 1)

/** What is in .xdata at `rva`. `read` gives bytes of the image by RVA. Throws MALFORMED, and what `read` throws. */
export function readXdataArm64(read: ReadRva, rva: number): Arm64Unwind {
  const u32At = (at: number): number => viewOf(read(at, 4)).getUint32(0, true)
  const header = u32At(rva)
  const version = bits(header, 18, 2)
  if (version !== 0) throw new HotpatchError('MALFORMED', `ARM64 unwind information of version ${version}`)
  const [hasHandler, packedEpilogue] = [bits(header, 20, 1) === 1, bits(header, 21, 1) === 1]
  let [count, words, at] = [bits(header, 22, 5), bits(header, 27, 5), rva + 4]
  if (count === 0 && words === 0) {
    const extension = u32At(at)
    count = bits(extension, 0, 16)
    words = bits(extension, 16, 8)
    at += 4
  }
  const functionLength = bits(header, 0, 18) * 4
  // One epilogue at the very end needs no scope: the count is the index of its first code.
  const scopes = packedEpilogue ? 0 : count
  const codesAt = at + scopes * 4
  const bytes = read(codesAt, words * 4)
  const codes = decodeCodes(bytes, 0)
  const epilogues: Arm64Epilogue[] = []
  if (packedEpilogue) {
    const own = decodeCodes(bytes, count)
    epilogues.push({ start: functionLength - sequenceLength(own) - INSTRUCTION, codes: own })
  }
  const scopeWords = viewOf(read(at, scopes * 4))
  for (let i = 0; i < scopes; i++) {
    const scope = scopeWords.getUint32(i * 4, true)
    epilogues.push({ start: bits(scope, 0, 18) * 4, codes: decodeCodes(bytes, bits(scope, 22, 10)) })
  }
  const tail = codesAt + words * 4
  return {
    functionLength,
    codes,
    epilogues,
    handler: hasHandler ? { rva: u32At(tail), dataRva: tail + 4 } : undefined,
    size: tail - rva + (hasHandler ? 4 : 0),
  }
}

const INSTRUCTION = 4

const CUSTOM: readonly CustomFrame[] = ['trap-frame', 'machine-frame', 'context', 'ec-context', 'clear-unwound']
const CUSTOM_OPS: ReadonlySet<string> = new Set(CUSTOM)

export const isCustomFrame = (code: Arm64Code): code is { readonly op: CustomFrame } => CUSTOM_OPS.has(code.op)

/** Bytes of the instructions that the codes stand for, up to the end of this fragment's own. */
export function sequenceLength(codes: readonly Arm64Code[]): number {
  let count = 0
  for (const code of codes) {
    if (code.op === 'end' || code.op === 'end-chained') break
    if (!isCustomFrame(code)) count++
  }
  return count * INSTRUCTION
}

/** The code at the head of bytes of which the first has been read: `value` is all of the code's bits, the first byte's highest. */
interface Form {
  /** The first byte is in [first, the next form's first). */
  readonly first: number
  /** Bytes. */
  readonly length: number
  readonly code: (value: number) => Arm64Code
}

const save = (kind: SavedKind, registers: readonly number[], offset: number, writeBack = false): Arm64Code => ({
  op: 'save',
  kind,
  registers,
  offset,
  writeBack,
})
const pair = (first: number): number[] => [first, first + 1]

/** By ascending first byte. `undefined`: reserved. */
const FORMS: readonly (Form | { readonly first: number; readonly code: undefined })[] = [
  // alloc_s, save_r19r20_x, save_fplr, save_fplr_x, alloc_m
  { first: 0x00, length: 1, code: (v) => ({ op: 'alloc', size: bits(v, 0, 5) * 16 }) },
  { first: 0x20, length: 1, code: (v) => save('x', [19, 20], bits(v, 0, 5) * 8, true) },
  { first: 0x40, length: 1, code: (v) => save('x', [29, 30], bits(v, 0, 6) * 8) },
  { first: 0x80, length: 1, code: (v) => save('x', [29, 30], (bits(v, 0, 6) + 1) * 8, true) },
  { first: 0xc0, length: 2, code: (v) => ({ op: 'alloc', size: bits(v, 0, 11) * 16 }) },
  // save_regp, save_regp_x, save_reg, save_reg_x, save_lrpair
  { first: 0xc8, length: 2, code: (v) => save('x', pair(19 + bits(v, 6, 4)), bits(v, 0, 6) * 8) },
  { first: 0xcc, length: 2, code: (v) => save('x', pair(19 + bits(v, 6, 4)), (bits(v, 0, 6) + 1) * 8, true) },
  { first: 0xd0, length: 2, code: (v) => save('x', [19 + bits(v, 6, 4)], bits(v, 0, 6) * 8) },
  { first: 0xd4, length: 2, code: (v) => save('x', [19 + bits(v, 5, 4)], (bits(v, 0, 5) + 1) * 8, true) },
  { first: 0xd6, length: 2, code: (v) => save('x', [19 + 2 * bits(v, 6, 3), 30], bits(v, 0, 6) * 8) },
  // save_fregp, save_fregp_x, save_freg, save_freg_x
  { first: 0xd8, length: 2, code: (v) => save('d', pair(8 + bits(v, 6, 3)), bits(v, 0, 6) * 8) },
  { first: 0xda, length: 2, code: (v) => save('d', pair(8 + bits(v, 6, 3)), (bits(v, 0, 6) + 1) * 8, true) },
  { first: 0xdc, length: 2, code: (v) => save('d', [8 + bits(v, 6, 3)], bits(v, 0, 6) * 8) },
  { first: 0xde, length: 2, code: (v) => save('d', [8 + bits(v, 5, 3)], (bits(v, 0, 5) + 1) * 8, true) },
  // alloc_z, alloc_l, set_fp, add_fp, nop, end, end_c, save_next
  { first: 0xdf, length: 2, code: (v) => ({ op: 'alloc-scalable', count: bits(v, 0, 8) }) },
  { first: 0xe0, length: 4, code: (v) => ({ op: 'alloc', size: bits(v, 0, 24) * 16 }) },
  { first: 0xe1, length: 1, code: () => ({ op: 'set-frame', offset: 0 }) },
  { first: 0xe2, length: 2, code: (v) => ({ op: 'set-frame', offset: bits(v, 0, 8) * 8 }) },
  { first: 0xe3, length: 1, code: () => ({ op: 'nop' }) },
  { first: 0xe4, length: 1, code: () => ({ op: 'end' }) },
  { first: 0xe5, length: 1, code: () => ({ op: 'end-chained' }) },
  { first: 0xe6, length: 1, code: () => ({ op: 'save-next' }) },
  // save_any_reg, save_zreg, save_preg
  { first: 0xe7, length: 3, code: saveAny },
  { first: 0xe8, length: 1, code: (v) => ({ op: CUSTOM[v - 0xe8] as CustomFrame }) },
  { first: 0xed, code: undefined },
  { first: 0xfc, length: 1, code: () => ({ op: 'sign' }) },
  { first: 0xfd, code: undefined },
]

/** `11100111'0pxrrrrr'ffoooooo`: pair, write-back, register, kind of register, offset; kind 3 is that of scalable ones. */
function saveAny(value: number): Arm64Code {
  if (bits(value, 15, 1) !== 0) throw new HotpatchError('MALFORMED', `unwind code 0x${value.toString(16)}`)
  const kind = (['x', 'd', 'q'] as const)[bits(value, 6, 2)]
  if (kind === undefined) {
    const predicate = bits(value, 12, 1) === 1
    const number = bits(value, 8, 4)
    const offset = bits(value, 13, 2) * 64 + bits(value, 0, 6)
    return { op: 'save-scalable', register: predicate ? number : number + 8, predicate, offset }
  }
  const [paired, writeBack, register] = [bits(value, 14, 1) === 1, bits(value, 13, 1) === 1, bits(value, 8, 5)]
  const unit = writeBack || paired || kind === 'q' ? 16 : 8
  const count = bits(value, 0, 6) + (writeBack ? 1 : 0)
  return save(kind, paired ? pair(register) : [register], count * unit, writeBack)
}

/** From byte `index` to the end of the list. Throws MALFORMED for reserved codes, and where the list has no end. */
function decodeCodes(data: Uint8Array, index: number): Arm64Code[] {
  const codes: Arm64Code[] = []
  for (let at = index; at < data.length; ) {
    const first = data[at] as number
    const form = FORMS.findLast((each) => each.first <= first)
    if (form?.code === undefined) throw new HotpatchError('MALFORMED', `the ARM64 unwind code 0x${first.toString(16)} is reserved`)
    if (at + form.length > data.length)
      throw new HotpatchError('MALFORMED', `the ARM64 unwind code at byte ${at} has no room for its operand`)
    let value = 0
    for (let i = 0; i < form.length; i++) value = ((value << 8) | (data[at + i] as number)) >>> 0
    const code = form.code(value)
    codes.push(code)
    if (code.op === 'end') return codes
    at += form.length
  }
  throw new HotpatchError('MALFORMED', `the ARM64 unwind codes from byte ${index} on have no end`)
}
