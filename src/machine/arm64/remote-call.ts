/**
 * Machine code of ARM64 that hotpatch itself puts into a process for a call, or looks for in one, each word with its assembly beside it (as
 * objdump writes it; a test holds the two together). All of it is position-independent.
 */

/** One instruction: its word and its assembly. */
export type Word = readonly [word: number, assembly: string]

/** Instructions are little-endian words whatever the data are. */
export function assembleWords(words: readonly Word[]): Uint8Array {
  const bytes = new Uint8Array(4 * words.length)
  const view = new DataView(bytes.buffer)
  words.forEach(([word], i) => {
    view.setUint32(4 * i, word, true)
  })
  return bytes
}

/**
 * Calls one function with up to eight arguments and keeps its result. Its own argument (x0) is the address of a REMOTE_CALL_BLOCK. It returns 0.
 * As a thread's start routine on Windows and as a function on Linux: both take arguments and give results as AAPCS64 says; x18 is not
 * touched. It has no unwind data: an exception that leaves the called function ends the process.
 */
export const ARM64_REMOTE_CALL: readonly Word[] = [
  [0xa9be7bfd, 'stp x29, x30, [sp, #-32]!'],
  [0x910003fd, 'mov x29, sp'],
  [0xf9000bf3, 'str x19, [sp, #16]'],
  [0xaa0003f3, 'mov x19, x0'],
  [0xf9400270, 'ldr x16, [x19]'],
  [0xa9408660, 'ldp x0, x1, [x19, #8]'],
  [0xa9418e62, 'ldp x2, x3, [x19, #24]'],
  [0xa9429664, 'ldp x4, x5, [x19, #40]'],
  [0xa9439e66, 'ldp x6, x7, [x19, #56]'],
  [0xd63f0200, 'blr x16'],
  [0xf9002660, 'str x0, [x19, #72]'],
  [0xd2800028, 'mov x8, #0x1'],
  [0xf9002a68, 'str x8, [x19, #80]'],
  [0x52800000, 'mov w0, #0x0'],
  [0xf9400bf3, 'ldr x19, [sp, #16]'],
  [0xa8c27bfd, 'ldp x29, x30, [sp], #32'],
  [0xd65f03c0, 'ret'],
]

/** A system call of Linux: number in x8, arguments in x0 to x5, result in x0. */
export const SVC: Word = [0xd4000001, 'svc #0x0']
export const SVC_RET: readonly Word[] = [SVC, [0xd65f03c0, 'ret']]
/** Where Linux' signal handlers return to: rt_sigreturn. In the vDSO, and in C libraries that have their own. */
export const SIGRETURN: readonly Word[] = [[0xd2801168, 'mov x8, #0x8b'], SVC]
