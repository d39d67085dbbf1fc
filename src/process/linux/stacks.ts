/** The stacks of stopped threads, read with one system call for up to a thousand of them (process_vm_readv(2)). */
import { Iovec } from '../../os/linux/definitions.ts'
import { libc, type Pinned, pinned } from '../../os/linux/libc.ts'
import type { StackRequest, StackWindow } from '../contract.ts'
import { StackWindows } from '../stack-windows.ts'
import { machine } from './host-machine.ts'

/** limits.h: the most pieces that one call takes. */
const IOV_MAX = 1024
/** Of what is read beyond the windows. */
const BUFFER = 0x10000
const WORD = 2 ** 32

/** In 32-bit halves from the start of a thread's registers. */
const DWARF_REGISTERS = machine.registers.dwarf.map((word) => 2 * word)
const STACK_POINTER = 2 * machine.registers.stackPointer

/** `registers`: a RegisterFile's, as 32-bit halves, the thread's from index `at`. */
export function dwarfRegisters(registers: Uint32Array, at: number, into: Float64Array): void {
  for (let i = 0; i < DWARF_REGISTERS.length; i++) {
    const half = at + (DWARF_REGISTERS[i] as number)
    into[i] = (registers[half] as number) + (registers[half + 1] as number) * WORD
  }
}

export class Stacks {
  #tid: number
  readonly #windows: StackWindows | undefined
  readonly #local = pinned(IOV_MAX * Iovec.size)
  readonly #remote = pinned(IOV_MAX * Iovec.size)
  readonly #localHalves = new Uint32Array(this.#local.bytes.buffer)
  readonly #remoteHalves = new Uint32Array(this.#remote.bytes.buffer)
  readonly #buffer = pinned(BUFFER)
  #memory: Pinned = pinned(0)

  /** @param tid a thread through which the process' memory is read */
  constructor(tid: number, request: StackRequest | undefined) {
    this.#tid = tid
    this.#windows =
      request &&
      new StackWindows(request, (bytes) => {
        this.#memory = pinned(bytes)
        return new Uint32Array(this.#memory.bytes.buffer)
      })
  }

  /** From now on through this thread, which is stopped: one that runs may end, nothing could be read through it, and threads whose stacks cannot be read would pass for free. */
  readThrough(tid: number): void {
    this.#tid = tid
  }

  /** Makes room for the windows of `count` threads. */
  reserve(count: number): void {
    this.#windows?.reserve(count)
  }

  /** Reads every thread's window. `registers` holds `stride` halves for each of `count` threads. */
  readAll(registers: Uint32Array, stride: number, count: number): void {
    const windows = this.#windows
    if (windows === undefined) return
    windows.reserve(count)
    for (let i = 0; i < count; i++) {
      const half = i * stride + STACK_POINTER
      windows.place(i, (registers[half] as number) + (registers[half + 1] as number) * WORD)
    }
    for (let first = 0; first < count; ) first = this.#readFrom(windows, first, Math.min(count, first + IOV_MAX))
  }

  /** The calls that read windows, on a stack that is not there. */
  rehearse(): void {
    const windows = this.#windows
    if (windows === undefined) return
    windows.reserve(1)
    windows.place(0, 0)
    this.#readFrom(windows, 0, 1)
  }

  /** Reads one thread's window. */
  readOne(registers: Uint32Array, stride: number, index: number): void {
    const windows = this.#windows
    if (windows === undefined) return
    windows.reserve(index + 1)
    const half = index * stride + STACK_POINTER
    windows.place(index, (registers[half] as number) + (registers[half + 1] as number) * WORD)
    this.#readFrom(windows, index, index + 1)
  }

  window(index: number): StackWindow {
    return (this.#windows as StackWindows).window(index)
  }

  /** As StoppedThreads.read. Not through /proc/PID/mem, which also gives what is closed to the program (guard pages). */
  read(address: number, into: Uint8Array): number {
    let done = 0
    while (done < into.length) {
      const wanted = Math.min(BUFFER, into.length - done)
      setIovec(this.#localHalves, 0, this.#buffer.address, wanted)
      setIovec(this.#remoteHalves, 0, address + done, wanted)
      const count = libc.process_vm_readv(this.#tid, this.#local.address, 1, this.#remote.address, 1, 0)
      if (count <= 0) break
      const bytes = this.#buffer.bytes
      for (let i = 0; i < count; i++) into[done + i] = bytes[i] as number
      done += count
      if (count < wanted) break
    }
    return done
  }

  /** Reads windows from `first` up to `end`; gives the index to go on with: a window that cannot be read whole ends the call. */
  #readFrom(windows: StackWindows, first: number, end: number): number {
    const base = this.#memory.address
    for (let i = first; i < end; i++) {
      const window = windows.window(i)
      setIovec(this.#localHalves, i - first, base + window.at * 4, window.length)
      setIovec(this.#remoteHalves, i - first, window.address, window.length)
    }
    let left = libc.process_vm_readv(this.#tid, this.#local.address, end - first, this.#remote.address, end - first, 0)
    for (let i = first; i < end; i++) {
      const window = windows.window(i)
      if (left >= window.length) left -= window.length
      else {
        window.length = left <= 0 ? 0 : left - (left % 8)
        return i + 1
      }
    }
    return end
  }
}

function setIovec(halves: Uint32Array, index: number, address: number, length: number): void {
  const at = index * 4
  halves[at] = address % WORD
  halves[at + 1] = address / WORD
  halves[at + 2] = length
  halves[at + 3] = 0
}
