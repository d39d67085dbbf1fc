/** The unwind data of a whole x64 image, function by function, as a stack walker wants it. */
import { HotpatchError } from '../../errors.ts'
import type { FrameFunction } from '../dwarf/frames.ts'
import { type Of, viewOf } from '../struct.ts'
import { RuntimeFunction } from './definitions.ts'
import { unwindRows } from './unwind-rows.ts'
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

/**
 * What the records describe. `read` gives bytes of the image by RVA. A record whose information contradicts itself or cannot be read has a
 * stretch without rows: its code is neither a leaf nor described.
 */
export function peFrames(records: readonly Record[], read: ReadRva): PeFrames {
  const functions: FrameFunction[] = []
  const stretches: PeStretch[] = []
  for (const record of records) {
    const { BeginAddress: begin, EndAddress: end } = record
    if (end <= begin) continue
    const chain = chainOf(record, read)
    stretches.push({ begin, end, primary: chain?.primary ?? begin })
    if (chain === undefined) continue
    const signal = chain.infos.some(({ codes }) => codes.some(({ op }) => op === 'machine-frame'))
    functions.push({ start: begin, size: end - begin, rows: unwindRows(chain.infos), signal })
  }
  return { functions, stretches: stretches.sort((a, b) => a.begin - b.begin) }
}

function chainOf(record: Record, read: ReadRva): { infos: UnwindInfo[]; primary: number } | undefined {
  try {
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
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE') return undefined
    throw error
  }
}

/** The records of a table in memory, read as bytes. */
export function runtimeFunctions(data: Uint8Array): Record[] {
  const view = viewOf(data)
  return Array.from({ length: Math.floor(data.length / RuntimeFunction.size) }, (_, i) =>
    RuntimeFunction.read(view, i * RuntimeFunction.size),
  )
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
