/** The unwind data of a whole image, function by function, as a stack walker wants it. */
import { HotpatchError } from '../../errors.ts'
import type { FrameFunction } from '../dwarf/frames.ts'
import type { Of } from '../struct.ts'
import { RuntimeFunction } from './definitions.ts'
import { arm64Extent, arm64UnwindOf } from './functions-arm64.ts'
import { Arm64RuntimeFunction, type Arm64Unwind, isCustomFrame } from './unwind-arm64.ts'
import { unwindRows } from './unwind-rows.ts'
import { arm64Rows } from './unwind-rows-arm64.ts'
import { readUnwindInfo, type UnwindInfo } from './unwind-x64.ts'

type ReadRva = (rva: number, length: number) => Uint8Array
type Record = Of<typeof RuntimeFunction>

export interface PeFrames {
  readonly functions: readonly FrameFunction[]
  /** Every stretch of code that has a record, by ascending begin. */
  readonly stretches: readonly PeStretch[]
}

export interface PeStretch {
  readonly begin: number
  readonly end: number
  /** Begin of the function that it is a part of: that of the record at the end of its chain. */
  readonly primary: number
}

/** Chains of real functions have two or three links. */
const LONGEST_CHAIN = 32

/** Bytes of a record of the exception directory. */
export const RUNTIME_FUNCTION_SIZE = { x64: RuntimeFunction.size, arm64: Arm64RuntimeFunction.size } as const

export type PeMachine = keyof typeof RUNTIME_FUNCTION_SIZE

/**
 * What the records of an exception directory describe. `read` gives bytes of the image by RVA. A record whose information contradicts itself or
 * cannot be read has a stretch without rows: its code is neither a leaf nor described.
 */
export function peFrames(machine: PeMachine, table: Uint8Array, read: ReadRva): PeFrames {
  const functions: FrameFunction[] = []
  const stretches: PeStretch[] = []
  const count = Math.floor(table.length / RUNTIME_FUNCTION_SIZE[machine])
  for (let i = 0; i < count; i++) {
    const { stretch, described } = FRAME_OF[machine](table, i * RUNTIME_FUNCTION_SIZE[machine], read)
    if (stretch !== undefined) stretches.push(stretch)
    if (described !== undefined) functions.push(described)
  }
  return { functions, stretches: stretches.sort((a, b) => a.begin - b.begin) }
}

interface Frame {
  readonly stretch?: PeStretch
  readonly described?: FrameFunction
}

const FRAME_OF = { x64: x64Frame, arm64: arm64Frame } as const

function x64Frame(table: Uint8Array, at: number, read: ReadRva): Frame {
  const record = RuntimeFunction.readAt(table, at)
  const { BeginAddress: begin, EndAddress: end } = record
  if (end <= begin) return {}
  const chain = readable(() => chainOf(record, read))
  const stretch = { begin, end, primary: chain?.primary ?? begin }
  if (chain === undefined) return { stretch }
  const signal = chain.infos.some(({ codes }) => codes.some(({ op }) => op === 'machine-frame'))
  return { stretch, described: { start: begin, size: end - begin, rows: unwindRows(chain.infos), signal } }
}

function arm64Frame(table: Uint8Array, at: number, read: ReadRva): Frame {
  const record = Arm64RuntimeFunction.readAt(table, at)
  const begin = record.BeginAddress
  const size = readable(() => arm64Extent(record, read)) ?? 0
  if (size === 0) return {}
  const stretch = { begin, end: begin + size, primary: begin }
  const rows = readable(() => {
    const unwind = arm64UnwindOf(record, read)
    const made = arm64Rows(unwind)
    return made && { made, signal: isKernels(unwind) }
  })
  return rows === undefined ? { stretch } : { stretch, described: { start: begin, size, rows: rows.made, signal: rows.signal } }
}

/** The kernel has put a thread there in the middle of something else. */
const isKernels = ({ codes }: Arm64Unwind): boolean => codes.some(isCustomFrame)

/** undefined where the image contradicts itself. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE') return undefined
    throw error
  }
}

function chainOf(record: Record, read: ReadRva): { infos: UnwindInfo[]; primary: number } | undefined {
  const infos: UnwindInfo[] = []
  let link = record
  for (let links = 0; links < LONGEST_CHAIN; links++) {
    // An odd RVA is that of another record, whose function this is a part of.
    if ((link.UnwindData & 1) !== 0) {
      link = RuntimeFunction.readAt(read(link.UnwindData & ~1, RuntimeFunction.size), 0)
      continue
    }
    const info = readUnwindInfo(read, link.UnwindData)
    infos.push(info)
    if (info.chained === undefined) return { infos, primary: link.BeginAddress }
    link = info.chained
  }
  return undefined
}

const BLOCK = 0x10000

/** Reads of an image of `size` bytes in large blocks, each once: asking a process for every record would take a call for each. */
export function blockwise(read: ReadRva, size: number): ReadRva {
  const blocks = new Map<number, Uint8Array>()
  const block = (index: number): Uint8Array => {
    let data = blocks.get(index)
    if (data === undefined) {
      data = read(index * BLOCK, Math.min(BLOCK, size - index * BLOCK))
      blocks.set(index, data)
    }
    return data
  }
  return (rva, length) => {
    if (!(rva >= 0 && length >= 0 && rva + length <= size))
      throw new HotpatchError('TRUNCATED', `${length} bytes at RVA 0x${rva.toString(16)} are outside of the image`)
    const first = Math.floor(rva / BLOCK)
    const last = Math.floor((rva + Math.max(length, 1) - 1) / BLOCK)
    if (first === last) return block(first).subarray(rva - first * BLOCK, rva - first * BLOCK + length)
    const joined = new Uint8Array(length)
    for (let index = first; index <= last; index++) {
      const from = Math.max(rva, index * BLOCK)
      const to = Math.min(rva + length, (index + 1) * BLOCK)
      joined.set(block(index).subarray(from - index * BLOCK, to - index * BLOCK), from - rva)
    }
    return joined
  }
}
