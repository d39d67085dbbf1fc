/** The unwind data of a whole .eh_frame, function by function, as a stack walker wants it. */
import { HotpatchError } from '../../errors.ts'
import { type CfaRow, cfaRows } from './cfa.ts'
import { type EhFde, readEhFrame } from './eh-frame.ts'
import { pointerAddress } from './pointers.ts'

/** The unwind data of one stretch of code, usually one function. */
export interface FrameFunction {
  /** Of its first byte: an RVA or an address, as the caller counts. */
  readonly start: number
  /** Bytes. */
  readonly size: number
  /** By ascending start, relative to `start`; the first begins at 0. */
  readonly rows: readonly CfaRow[]
  /** A signal trampoline: the address to look up in the frame above is exact, not a return address. */
  readonly signal: boolean
}

/**
 * What the section at `sectionAddress` describes, with starts counted from `origin`. A record that contradicts itself is left out: its code is
 * then code without unwind data, which a walker treats with more care, not less. Throws TRUNCATED, MALFORMED where the section cannot even be cut into records.
 */
export function framesOf(section: Uint8Array, sectionAddress: bigint, origin: bigint): FrameFunction[] {
  return readEhFrame(section).flatMap((record) => {
    if (record.kind !== 'fde') return []
    const frame = frameOf(record, sectionAddress, origin)
    return frame === undefined ? [] : [frame]
  })
}

function frameOf(fde: EhFde, sectionAddress: bigint, origin: bigint): FrameFunction | undefined {
  const begin = pointerAddress(fde.begin, sectionAddress)
  const size = Number(fde.range)
  if (begin === undefined || begin < origin || size <= 0 || size > 0xffffffff) return undefined
  const { codeAlignment, dataAlignment, initialInstructions, signalFrame } = fde.cie
  try {
    const rows = cfaRows({ codeAlignment, dataAlignment, initialInstructions, instructions: fde.instructions, size })
    return { start: Number(begin - origin), size, rows, signal: signalFrame }
  } catch (error) {
    if (error instanceof HotpatchError) return undefined
    throw error
  }
}
