/** The stacks of stopped threads. Windows reads one range at a time. */
import { win32 } from '../../os/windows/kernel32.ts'
import type { StackRequest, StackWindow } from '../contract.ts'
import { StackWindows } from '../stack-windows.ts'
import { accessOf, queryPages } from './memory-map.ts'
import type { Target } from './target.ts'

export class Stacks {
  readonly #target: Target
  readonly #windows: StackWindows | undefined
  readonly #count = new BigUint64Array(1)
  readonly #countBytes = new Uint8Array(this.#count.buffer)

  constructor(target: Target, request: StackRequest | undefined) {
    this.#target = target
    this.#windows = request && new StackWindows(request, (bytes) => new Uint32Array(bytes / 4))
  }

  reserve(count: number): void {
    this.#windows?.reserve(count)
  }

  readWindow(index: number, stackPointer: number): void {
    if (this.#windows === undefined) return
    const window = this.#windows.place(index, stackPointer)
    const length = this.read(window.address, new Uint8Array(window.words.buffer, window.at * 4, window.length))
    window.length = length - (length % 8)
  }

  window(index: number): StackWindow {
    return (this.#windows as StackWindows).window(index)
  }

  /** As StoppedThreads.read. A guard page is not touched: that would take away the mark that the target's stack grows by. */
  read(address: number, into: Uint8Array): number {
    let done = 0
    while (done < into.length) {
      const at = BigInt(address + done)
      const pages = queryPages(this.#target, at)
      if (pages?.state !== 'committed' || !accessOf(pages.protection).read) break
      const length = Math.min(into.length - done, Number(pages.end - at))
      if (!win32.ReadProcessMemory(this.#target.look, at, into.subarray(done, done + length), length, this.#countBytes)) break
      done += length
    }
    return done
  }
}
