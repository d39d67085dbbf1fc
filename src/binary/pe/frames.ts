/** The unwind data of a whole image as a stack walker wants it: each function's is read when it is met. */
import { HotpatchError } from '../../errors.ts'
import type { FrameFunction } from '../dwarf/frames.ts'
import { type Of, viewOf } from '../struct.ts'
import { RuntimeFunction } from './definitions.ts'
import { arm64Extent, arm64UnwindOf } from './functions-arm64.ts'
import { ARM64_FLAG, Arm64RuntimeFunction, type Arm64Unwind, isCustomFrame } from './unwind-arm64.ts'
import { unwindRows } from './unwind-rows.ts'
import { arm64Rows } from './unwind-rows-arm64.ts'
import { readUnwindInfo, type UnwindInfo } from './unwind-x64.ts'

type ReadRva = (rva: number, length: number) => Uint8Array
type Record = Of<typeof RuntimeFunction>

/** A stretch of code that has a record. RVAs. */
export interface PeFrame {
  readonly begin: number
  /** `begin` itself where the record is of no code. */
  readonly end: number
  /** Begin of the function that it is a part of: that of the record at the end of its chain. */
  readonly primary: number
  /** undefined where its information contradicts itself or cannot be read: the code is neither a leaf nor described. */
  readonly described: FrameFunction | undefined
}

/** Chains of real functions have two or three links. */
const LONGEST_CHAIN = 32

/** Bytes of a record of the exception directory. */
export const RUNTIME_FUNCTION_SIZE = { x64: RuntimeFunction.size, arm64: Arm64RuntimeFunction.size } as const

/** Of ordinary functions, bytes: a header, the codes (255 of two bytes, as many words), epilogues, a handler. */
export const UNWIND_INFORMATION_SIZE = 0x1000

export type PeMachine = keyof typeof RUNTIME_FUNCTION_SIZE

/** What the records of an exception directory describe. */
export class PeFrames {
  readonly #machine: PeMachine
  readonly #table: Uint8Array
  readonly #read: ReadRva
  /** Ascending. */
  readonly #begins: Uint32Array
  /** The record of each in the table. */
  readonly #records: Uint32Array
  readonly #known: PeFrame[] = []

  /** @param read gives bytes of the image by RVA */
  constructor(machine: PeMachine, table: Uint8Array, read: ReadRva) {
    this.#machine = machine
    this.#table = table
    this.#read = read
    const size = RUNTIME_FUNCTION_SIZE[machine]
    const view = viewOf(table)
    const begins = Uint32Array.from({ length: Math.floor(table.length / size) }, (_, i) => view.getUint32(i * size, true))
    this.#records = begins.map((_, i) => i)
    if (begins.some((begin, i) => begin < (begins[i - 1] ?? 0))) this.#records.sort((a, b) => (begins[a] as number) - (begins[b] as number))
    this.#begins = this.#records.map((record) => begins[record] as number)
  }

  get count(): number {
    return this.#begins.length
  }

  /** The stretch at `index`; by ascending begin. */
  at(index: number): PeFrame {
    let known = this.#known[index]
    if (known === undefined) {
      known = FRAME_OF[this.#machine](this.#table, (this.#records[index] as number) * RUNTIME_FUNCTION_SIZE[this.#machine], this.#read)
      this.#known[index] = known
    }
    return known
  }

  /** The index of the stretch that `rva` lies in; -1: it is in none. Where two overlap, the one that begins later has it. */
  indexAt(rva: number): number {
    const begins = this.#begins
    let low = -1
    let high = begins.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((begins[middle] as number) <= rva) low = middle
      else high = middle - 1
    }
    return low >= 0 && rva < this.at(low).end ? low : -1
  }

  /** RVAs of the unwind information that records lead to, in the table's order. */
  *information(): Generator<number> {
    const size = RUNTIME_FUNCTION_SIZE[this.#machine]
    const view = viewOf(this.#table)
    for (let at = size - 4; at < this.#table.length; at += size) {
      const data = view.getUint32(at, true)
      if (this.#machine === 'x64') yield data - (data & 1)
      else if ((data & 3) === ARM64_FLAG.XDATA) yield data
    }
  }
}

const FRAME_OF = { x64: x64Frame, arm64: arm64Frame } as const

function x64Frame(table: Uint8Array, at: number, read: ReadRva): PeFrame {
  const record = RuntimeFunction.readAt(table, at)
  const { BeginAddress: begin, EndAddress: end } = record
  if (end <= begin) return { begin, end: begin, primary: begin, described: undefined }
  const chain = readable(() => chainOf(record, read))
  if (chain === undefined) return { begin, end, primary: begin, described: undefined }
  const signal = chain.infos.some(({ codes }) => codes.some(({ op }) => op === 'machine-frame'))
  return { begin, end, primary: chain.primary, described: { start: begin, size: end - begin, rows: unwindRows(chain.infos), signal } }
}

function arm64Frame(table: Uint8Array, at: number, read: ReadRva): PeFrame {
  const record = Arm64RuntimeFunction.readAt(table, at)
  const begin = record.BeginAddress
  const size = readable(() => arm64Extent(record, read)) ?? 0
  const described = size === 0 ? undefined : readable(() => arm64Described(begin, size, arm64UnwindOf(record, read)))
  return { begin, end: begin + size, primary: begin, described }
}

function arm64Described(start: number, size: number, unwind: Arm64Unwind): FrameFunction | undefined {
  const rows = arm64Rows(unwind)
  return rows && { start, size, rows, signal: isKernels(unwind) }
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
