/** Which of the live tests run in the ARM64 machine, what of them, and why the others do not. */

export interface Suite {
  /** Below test/, without its suffix. */
  readonly file: string
  /** Parts of full test names that are left out: emulated, they take too long, or they cannot run there. */
  readonly without?: readonly { readonly name: string; readonly why: string }[]
}

export interface LeftOut {
  readonly file: string
  readonly why: string
}

const TOO_LONG = 'it takes minutes where the processor is emulated'

export const SUITES: readonly Suite[] = [
  {
    file: 'engine/linux',
    without: [
      { name: 'cycles under load', why: TOO_LONG },
      { name: 'an engine that dies', why: TOO_LONG },
    ],
  },
  { file: 'engine/callout' },
  { file: 'engine/supersede' },
  { file: 'engine/awkward' },
  { file: 'engine/threads' },
  { file: 'engine/indirect' },
  { file: 'engine/unstopped' },
  { file: 'process/borrow' },
  { file: 'process/kill' },
  { file: 'process/edges' },
  { file: 'engine/busy', without: [{ name: 'an engine that dies while it follows threads', why: TOO_LONG }] },
]

/** Of these, what is run once more where both processors run at once (tools/arm64/machine.ts): one writes code that the other runs. */
export const AT_ONCE: readonly string[] = ['engine/unstopped']

export const LEFT_OUT: readonly LeftOut[] = [
  { file: 'engine/reclaim', why: 'on ARM64 its patches hand the address of their own variable on, so that none of them is ever unmapped' },
  { file: 'engine/passing', why: 'its program is C++, and the machine is given no C++ programs yet' },
  { file: 'engine/busy-pe', why: 'what it tries is among `test/arm64/engine-cases.ts`, which run inside Windows’ Node' },
  { file: 'process/windows', why: 'it starts the conformance suite in Wine on x64; there `npm run test:arm64` does' },
  { file: 'process/stacks-pe', why: 'it steps through x64 instructions' },
  { file: 'process/stacks', why: 'it steps through x64 instructions and compares with gdb, which is not in the machine' },
  { file: 'process/unwind', why: 'its mapped function is x64 machine code, and its program C++' },
]
