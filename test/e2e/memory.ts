/** The memory of a live process, read and written behind hotpatch's back: what tests compare its word with. */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'

export interface Mapping {
  readonly start: number
  readonly end: number
  /** As in /proc/PID/maps: "r-xp". */
  readonly permissions: string
  readonly name: string
}

export function mappings(pid: number): Mapping[] {
  return readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, start = '', end = '', permissions = '', name = ''] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)$/.exec(line) ?? []
      return start === '' ? [] : [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), permissions, name }]
    })
}

export function readMemory(pid: number, address: number, length: number): Buffer {
  return withMemory(pid, 'r', (memory) => {
    const bytes = Buffer.alloc(length)
    const got = readSync(memory, bytes, 0, length, address)
    if (got !== length) throw new Error(`${got} of ${length} bytes at 0x${address.toString(16)}`)
    return bytes
  })
}

/** Also into memory that the process itself cannot write. */
export function writeMemory(pid: number, address: number, bytes: Uint8Array): void {
  withMemory(pid, 'r+', (memory) => writeSync(memory, bytes, 0, bytes.length, address))
}

function withMemory<T>(pid: number, flags: string, use: (memory: number) => T): T {
  const memory = openSync(`/proc/${pid}/mem`, flags)
  try {
    return use(memory)
  } finally {
    closeSync(memory)
  }
}

/**
 * All executable memory that lies within `reach` of `address`, by its start: the code of the image there. Both a loaded ELF
 * and a PE under Wine keep their code within a few megabytes.
 */
export function codeAround(pid: number, address: number, reach = 4 << 20): Map<number, Buffer> {
  const near = mappings(pid).filter(
    ({ start, end, permissions }) => permissions[2] === 'x' && end > address - reach && start < address + reach,
  )
  return new Map(near.map(({ start, end }) => [start, readMemory(pid, start, end - start)]))
}
