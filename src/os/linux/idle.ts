/**
 * Keeping processors from falling asleep for a moment. A thread that waits is stopped by waking it, and a processor that idles deeply takes up
 * to a hundred microseconds to wake; in a virtual machine each time costs a way through its host.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

/** The kernel's PM QoS interface: while it is open, no processor idles in a state that takes longer to leave than was written, in µs. */
const DEVICE = '/dev/cpu_dma_latency'
const NO_LATENCY = new Uint8Array(4)

let device: number | undefined

/** Where the system lets us (root); otherwise nothing changes. Ends with us at the latest. Pair it with `letIdle`. */
export function stayAwake(): void {
  try {
    device ??= openSync(DEVICE, 'w')
    writeSync(device, NO_LATENCY)
  } catch {
    letIdle()
  }
}

export function letIdle(): void {
  if (device !== undefined) closeSync(device)
  device = undefined
}
