/**
 * Calls that the kernel goes on with by `restart_syscall` (poll, nanosleep, clock_nanosleep, futex) when a thread that was stopped in them is let
 * go. A thread that is stopped once more shows that number in place of its own, and what the kernel knows of the call does not survive
 * `rt_sigreturn`: `restart_syscall` then answers EINTR. So the way back of a borrowed thread needs the call's own number. Its arguments are in
 * the registers still; its number stands in the instruction before, where C libraries have it.
 */
import { SYS } from '../../../os/linux/syscalls.ts'
import type { Memory } from '../memory.ts'
import type { Registers } from './sigframe.ts'

const RESUMED: ReadonlySet<number> = new Set([SYS.poll, SYS.nanosleep, SYS.futex, SYS.clock_nanosleep])
/** `mov eax, imm32; syscall` */
const [MOV_EAX, MOV_SIZE, SYSCALL_SIZE] = [0xb8, 5, 2]

/** The registers with the number of the call that the thread was stopped in first; as they are where that is not to be known. */
export function withOwnCall(registers: Registers, memory: Pick<Memory, 'tryRead'>): Registers {
  if (registers.orig_rax !== BigInt(SYS.restart_syscall)) return registers
  const code = memory.tryRead(registers.rip - BigInt(MOV_SIZE + SYSCALL_SIZE), MOV_SIZE + SYSCALL_SIZE)
  if (code === undefined || code[0] !== MOV_EAX || code[MOV_SIZE] !== 0x0f || code[MOV_SIZE + 1] !== 0x05) return registers
  const number = new DataView(code.buffer, code.byteOffset).getUint32(1, true)
  return RESUMED.has(number) ? { ...registers, orig_rax: BigInt(number) } : registers
}
