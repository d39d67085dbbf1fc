/**
 * An engine that kills itself: maps, switches and unmaps in process PID, and dies around its STEP-th call that changes anything
 * (ptrace and pwrite), before or after the call. Without a STEP it prints how many there are.
 * usage: killed-engine PID [STEP before|after]
 */
import { PTRACE } from '../../src/os/linux/definitions.ts'
import { libc } from '../../src/os/linux/libc.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'

const [pid, step, side] = [Number(process.argv[2]), Number(process.argv[3] ?? Number.NaN), process.argv[4]]
const LOOKING: readonly number[] = [PTRACE.GETREGS, PTRACE.GETREGSET, PTRACE.GETSIGMASK, PTRACE.GET_RSEQ_CONFIGURATION]
const HIGHEST_THREAD = 1 << 22
let count = 0

function dieAround<T>(action: () => T): T {
  if (count === step && side === 'before') process.kill(process.pid, 'SIGKILL')
  const result = action()
  if (count === step) process.kill(process.pid, 'SIGKILL')
  count++
  return result
}

const { ptrace, pwrite } = libc
libc.ptrace = (request, tid, address, data) =>
  LOOKING.includes(request) || tid > HIGHEST_THREAD
    ? ptrace(request, tid, address, data)
    : dieAround(() => ptrace(request, tid, address, data))
libc.pwrite = (fd, buffer, length, offset) => dieAround(() => pwrite(fd, buffer, length, offset))

const target = linuxBackend.open(pid)
const main = target.modules()[0]
if (main === undefined) throw new Error('no main program')
const near = main.base + BigInt(main.size)
const address = target.findPlace({ size: 0x2000, near, low: near - 0x7000_0000n, high: near + 0x7000_0000n })
if (address === undefined) throw new Error('no place')
target.map({
  address,
  name: 'hotpatch:killed',
  segments: [
    { offset: 0, size: 0x1000, protection: 'rx', content: Uint8Array.of(0xc3) },
    { offset: 0x1000, size: 0x1000, protection: 'rw', content: Uint8Array.of(1, 2, 3) },
  ],
})
target.switchCode({ writes: [{ address, bytes: Uint8Array.of(0x90) }], inspect: () => undefined, stopTimeout: 2000 })
target.unmap(address, 0x2000)
target.close()
process.stdout.write(`${count}\n`)
