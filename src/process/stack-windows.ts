/** Which part of each thread's stack is read in a stop, and the memory that it is read into: the same on every system. */
import type { Region, StackRequest, StackWindow } from './contract.ts'

/** Bytes below the stack pointer that code may use: the red zone of the System V ABI for x86-64 (3.2.2). Windows has none. */
export const BELOW = 128
const PAGE = 4096

export interface PlacedWindow extends StackWindow {
  address: number
  length: number
  words: Uint32Array
  at: number
}

/** Windows for as many threads as were reserved for. After that, placing them allocates nothing. */
export class StackWindows {
  readonly bytes: number
  #words: Uint32Array = new Uint32Array(0)
  readonly #windows: PlacedWindow[] = []
  /** Of readable regions, ascending. */
  readonly #starts: Float64Array
  readonly #ends: Float64Array
  readonly #allocate: (bytes: number) => Uint32Array

  /** `allocate` gives memory that the system can read into. */
  constructor({ bytes, regions }: StackRequest, allocate: (bytes: number) => Uint32Array) {
    this.bytes = bytes
    this.#allocate = allocate
    const readable = regions.filter((region) => region.read)
    this.#starts = Float64Array.from(readable, (region: Region) => Number(region.start))
    this.#ends = Float64Array.from(readable, (region: Region) => Number(region.end))
  }

  /** Room for `count` windows. What was read before is lost where there was less. */
  reserve(count: number): void {
    if (count <= this.#windows.length) return
    this.#words = this.#allocate(count * this.bytes)
    while (this.#windows.length < count) this.#windows.push({ address: 0, length: 0, words: this.#words, at: 0 })
    for (let i = 0; i < count; i++) {
      const window = this.#windows[i] as PlacedWindow
      window.words = this.#words
      window.at = (i * this.bytes) / 4
    }
  }

  /** The memory that all windows share. */
  get words(): Uint32Array {
    return this.#words
  }

  window(index: number): PlacedWindow {
    return this.#windows[index] as PlacedWindow
  }

  /** Sets a window's address and how much of it there should be: up to the end of its region, or of its page where no region is known. */
  place(index: number, stackPointer: number): PlacedWindow {
    const window = this.#windows[index] as PlacedWindow
    const wanted = Math.floor((stackPointer - BELOW) / 8) * 8
    const region = this.#regionAt(stackPointer)
    const start = Math.max(wanted, region < 0 ? 0 : (this.#starts[region] as number))
    const end = region < 0 ? Math.floor(stackPointer / PAGE) * PAGE + PAGE : (this.#ends[region] as number)
    window.address = start
    window.length = Math.max(0, Math.min(this.bytes, end - start))
    return window
  }

  #regionAt(address: number): number {
    let low = 0
    let high = this.#starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.#starts[middle] as number) <= address) low = middle
      else high = middle - 1
    }
    return high >= 0 && address >= (this.#starts[low] as number) && address < (this.#ends[low] as number) ? low : -1
  }
}
