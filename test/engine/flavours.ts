/** How the programs of the tests beside this file are compiled, by the processor that they run on. */
import { GCC_FOR_ARM64 } from '../process/programs.ts'

export interface Flavour {
  readonly compiler: string
  readonly flags: readonly string[]
}

/** What the tests of one kind expect of it besides. */
interface Expected extends Flavour {
  /** A redirect that is among those of its functions. */
  readonly redirect?: string
  /** The way of --consistency function. */
  readonly apply?: 'stores' | 'stop'
  readonly rollback?: 'stores' | 'stop'
}

interface ByProcessor {
  readonly x64: readonly Expected[]
  readonly arm64: readonly Expected[]
}

export type Kind = 'linux' | 'series' | 'migration' | 'busy' | 'unstopped' | 'passing' | 'indirect' | 'plain' | 'killed' | 'killedSeries'

const ARM64_GCC = GCC_FOR_ARM64
/** Pointer authentication and landing pads: `paciasp` and `bti c` at entries. */
const PROTECTED = '-mbranch-protection=standard'

export const FLAVOURS: Readonly<Record<Kind, ByProcessor>> = {
  linux: {
    x64: [
      { compiler: 'gcc', flags: [], redirect: 'first-bytes' },
      { compiler: 'gcc', flags: ['-fpatchable-function-entry=18,16'], redirect: 'entry-nops' },
      { compiler: 'gcc', flags: ['-fpatchable-function-entry=16,16'], redirect: 'padding' },
      { compiler: 'gcc', flags: ['-fcf-protection=full'], redirect: 'first-bytes' },
      { compiler: 'gcc', flags: ['-fno-pie', '-no-pie'], redirect: 'first-bytes' },
      { compiler: 'clang-14', flags: ['-fpatchable-function-entry=18,16'], redirect: 'entry-nops' },
      { compiler: 'clang-19', flags: [], redirect: 'first-bytes' },
    ],
    arm64: [
      { compiler: ARM64_GCC, flags: [], redirect: 'first-bytes' },
      { compiler: ARM64_GCC, flags: [PROTECTED, '-fpatchable-function-entry=2'], redirect: 'entry-nops' },
      { compiler: ARM64_GCC, flags: [PROTECTED, '-fno-pie', '-no-pie'], redirect: 'first-bytes' },
    ],
  },
  series: {
    x64: [
      { compiler: 'gcc', flags: [] },
      { compiler: 'gcc', flags: ['-fpatchable-function-entry=18,16'] },
      { compiler: 'gcc', flags: ['-fpatchable-function-entry=16,16'] },
      { compiler: 'clang-19', flags: ['-fcf-protection=full'] },
    ],
    arm64: [{ compiler: ARM64_GCC, flags: [PROTECTED] }],
  },
  migration: {
    x64: [
      { compiler: 'gcc', flags: [] },
      { compiler: 'clang-19', flags: ['-fpatchable-function-entry=16,16'] },
    ],
    // Without -fdata-sections gcc reaches all variables of an ARM64 object from one anchor, and they are one block.
    arm64: [{ compiler: ARM64_GCC, flags: [PROTECTED, '-fdata-sections'] }],
  },
  busy: {
    x64: [
      { compiler: 'gcc', flags: [] },
      { compiler: 'gcc', flags: ['-fpatchable-function-entry=16,16', '-fcf-protection=full', '-mavx2'] },
      { compiler: 'clang-19', flags: ['-fno-omit-frame-pointer'] },
    ],
    arm64: [{ compiler: ARM64_GCC, flags: [PROTECTED] }],
  },
  unstopped: {
    x64: [
      // One nop of 5 bytes at the entry, and no padding: the jump over it is one store, and so is taking it back.
      { compiler: 'clang-19', flags: ['-fpatchable-function-entry=5'], apply: 'stores', rollback: 'stores' },
      // One nop of 2 bytes, and padding before it, which a thread may be in when it is taken back.
      { compiler: 'clang-19', flags: ['-fpatchable-function-entry=18,16'], apply: 'stores', rollback: 'stop' },
      // Two nops of 1 byte: a thread can stand between them.
      { compiler: 'gcc', flags: ['-fpatchable-function-entry=18,16'], apply: 'stop', rollback: 'stop' },
    ],
    arm64: [
      // A nop and a branch may be exchanged under running threads; any other instruction takes a stop.
      { compiler: ARM64_GCC, flags: ['-fpatchable-function-entry=1'], apply: 'stores', rollback: 'stores' },
    ],
  },
  passing: {
    x64: [
      { compiler: 'g++', flags: [] },
      { compiler: 'g++', flags: ['-fpatchable-function-entry=16,16', '-fcf-protection=full'] },
      { compiler: 'clang++-19', flags: ['-fpatchable-function-entry=5'] },
    ],
    arm64: [],
  },
  /** A static program has the C library's indirect functions in it. */
  indirect: {
    x64: [
      { compiler: 'gcc', flags: ['-fPIE', '-pie'] },
      { compiler: 'gcc', flags: ['-fno-pie', '-no-pie'] },
      { compiler: 'gcc', flags: ['-fno-pie', '-static'] },
      { compiler: 'gcc', flags: ['-fPIE', '-static-pie'] },
      { compiler: 'clang-19', flags: ['-fPIE', '-pie', '-fuse-ld=lld', '-Wno-unused-command-line-argument'] },
    ],
    arm64: [
      { compiler: ARM64_GCC, flags: [PROTECTED, '-fPIE', '-pie'] },
      { compiler: ARM64_GCC, flags: ['-fno-pie', '-static'] },
    ],
  },
  /** What is compiled in one way only. */
  plain: { x64: [{ compiler: 'gcc', flags: [] }], arm64: [{ compiler: ARM64_GCC, flags: [PROTECTED] }] },
  /** The engine that is killed at each of its steps. */
  killed: {
    x64: [{ compiler: 'gcc', flags: ['-fpatchable-function-entry=18,16'] }],
    arm64: [{ compiler: ARM64_GCC, flags: [PROTECTED] }],
  },
  killedSeries: {
    x64: [{ compiler: 'gcc', flags: ['-fpatchable-function-entry=16,16'] }],
    arm64: [{ compiler: ARM64_GCC, flags: [PROTECTED] }],
  },
}

/** Those for the processor that the tests run on. */
export const flavoursHere = (kind: Kind): readonly Expected[] => (process.arch === 'arm64' ? FLAVOURS[kind].arm64 : FLAVOURS[kind].x64)

/** The first of them. */
export function flavourHere(kind: Kind): Flavour {
  const [first] = flavoursHere(kind)
  if (first === undefined) throw new Error(`${kind} is not compiled for ${process.arch}`)
  return { compiler: first.compiler, flags: first.flags }
}
