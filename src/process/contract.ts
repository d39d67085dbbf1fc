/**
 * A live process, whatever the system. linux/, windows/ and fake/ implement this; conformance.test.ts holds all three to it.
 * Addresses are bigint and absolute; sizes are bytes. No promise anywhere: every call is done when it returns, on the one
 * OS thread that opened the process (ptrace belongs to a thread).
 */
import type { Protection } from '../patch/image.ts'

export interface Backend {
  readonly system: 'linux' | 'windows' | 'fake'
  /** Processes that the caller could look at. Never throws for a process that vanishes meanwhile. */
  list(): ProcessSummary[]
  /**
   * Opens a process for reading, changing nothing in it and stopping nothing.
   * Throws PROCESS_GONE, PERMISSION_DENIED (naming what denies it), PROCESS_UNSUPPORTED (32-bit, zombie, kernel thread).
   */
  open(pid: number): Process
}

export interface ProcessSummary {
  readonly pid: number
  readonly name: string
}

export interface Process {
  readonly pid: number
  readonly name: string
  readonly machine: 'x64' | 'arm64'
  /** Distinguishes it from a later process of the same pid (start time in the system's own unit, as text). */
  readonly incarnation: string

  /** Modules that are files mapped by the loader, main program first. */
  modules(): MappedModule[]
  /** The whole memory map by ascending address. */
  regions(): Region[]
  threads(): ThreadSummary[]

  /** Throws MEMORY_UNREADABLE naming address and length, PROCESS_GONE. */
  read(address: bigint, length: number): Uint8Array
  /**
   * Writes whatever the protection is, leaves the protection as it was, and makes the new bytes visible to execution.
   * An aligned write of 1, 2, 4 or 8 bytes is one store. Throws MEMORY_UNWRITABLE, PROCESS_GONE.
   */
  write(address: bigint, bytes: Uint8Array): void

  /**
   * A free range of `size` bytes (whole pages) inside [low, high), as near to `near` as there is one; only a look, nothing is
   * reserved. undefined: there is none.
   */
  findPlace(request: { size: number; near: bigint; low: bigint; high: bigint }): bigint | undefined
  /**
   * Maps segments at `address` with their final protections and contents; nothing is ever writable and executable at once.
   * Everything or nothing. Throws PLACE_TAKEN (look for another), MAPPING_REFUSED (the system forbids it; names what), PROCESS_GONE.
   */
  map(request: MapRequest): void
  /** Removes a mapping made by `map`, whole. */
  unmap(address: bigint, size: number): void

  /**
   * Stops every thread, looks, writes, lets go. Nothing is written unless `inspect` finds no blocker. Does its own preparation
   * before the first thread is stopped. Always resumes what it stopped, whatever is thrown.
   * Throws STOP_TIMEOUT when a thread does not stop within `stopTimeout` milliseconds (in the kernel, uninterruptible).
   */
  switchCode(request: SwitchRequest): SwitchOutcome

  /**
   * Keeps other engines out of the process until the answer is called or this engine ends, however it ends: a lock that the system takes
   * back (Linux: flock on /proc/PID; Windows: a named mutex). Another handle of this very program is another engine. Throws
   * ENGINE_AT_WORK while another engine has it, PROCESS_GONE.
   */
  lock(): () => void

  /**
   * Calls a function of the target with up to four arguments (Windows: eight), on a thread that is made for it (Windows) or on one that waits with no lock of
   * the allocator, the loader or the unwinder and is in no signal handler (Linux); no other thread is stopped. Bytes as an argument
   * lie in writable memory for the time of the call; the function gets their address. Answers what it returned, the whole register.
   * Throws CALL_TIMEOUT: it may still be at work, and comes to its end by itself. CALL_FAULTED: it raised a signal or ended its thread (on
   * Windows an exception that nobody handles ends the process, as ever). NO_SAFE_THREAD, MAPPING_REFUSED, PROCESS_GONE.
   */
  call: CallInside
  /** The same for calls one after the other, which share the memory that they need in the target: it is taken back behind `action`. */
  calls<T>(action: (call: CallInside) => T): T

  /**
   * Looks for addresses in all memory that threads of the target can have written to. May be called during an `inspect`; only then is
   * its answer more than a hint. Throws PROCESS_GONE.
   */
  search(request: SearchRequest): SearchResult

  /** Makes unwinders of the target know code that `map` brought. undefined: the target has none that could be told. */
  registerUnwind(request: UnwindRequest): UnwindRegistration | undefined
  unregisterUnwind(registration: UnwindRegistration): void

  close(): void
}

export interface AddressRange {
  readonly start: bigint
  /** One past the last byte. */
  readonly end: bigint
}

export interface SearchRequest {
  /** What is looked for: an address within one of them, at any byte (below 4 GB: at multiples of 4), whatever the uppermost 16 bits are. */
  readonly ranges: readonly AddressRange[]
  /** Memory that is not looked through. */
  readonly except: readonly AddressRange[]
  /** How many bytes may be looked through. */
  readonly limit: number
}

export type SearchResult =
  /** Where one lies. */
  | { readonly found: bigint }
  | 'nothing'
  /** There is more memory than the limit allows, or the system does not tell which memory there is. */
  | 'too-much'

export type CallArgument = bigint | Uint8Array

export type CallInside = (address: bigint, args: readonly CallArgument[], options: CallOptions) => bigint

export interface CallOptions {
  /** Milliseconds for the function to return; finding a thread for it may take as long again. */
  readonly deadlineMs: number
  /** The function has the system load a module. Refused (MAPPING_REFUSED) where the target has forbidden itself a system call that takes. */
  readonly loadsModules?: boolean
}

export interface MappedModule {
  /** File name without folders. */
  readonly name: string
  /** As the target's system sees it. */
  readonly path: string
  /** Where RVA 0 lies: ELF load bias + lowest segment page, PE module handle. For a non-PIE ELF program: its lowest mapped page. */
  readonly base: bigint
  /** From base to one past the last mapped byte. */
  readonly size: number
  /** The file was deleted or replaced on disk since it was mapped, as far as the system says. */
  readonly deleted: boolean
  readonly format: 'elf' | 'pe'
}

export interface Region {
  readonly start: bigint
  readonly end: bigint
  readonly read: boolean
  readonly write: boolean
  readonly execute: boolean
  /** Path or the system's name of it; '' where it has none. */
  readonly name: string
}

export interface ThreadSummary {
  readonly id: number
  readonly name: string
  /** Windows: address of its TEB; 0n: it has none yet. undefined: the system does not say. */
  readonly teb?: bigint | undefined
}

export interface MapRequest {
  readonly address: bigint
  /** Shown in the target's memory map where the system can: `hotpatch:…`. */
  readonly name: string
  /** Page-aligned, ascending, together covering [0, size) without holes. */
  readonly segments: readonly MapSegment[]
}

export interface MapSegment {
  /** From `address`. */
  readonly offset: number
  readonly size: number
  readonly protection: Protection
  readonly content: Uint8Array
}

export interface SwitchRequest {
  /** Done in this order, each as `write` would. Later ones are not begun if one fails; those done are taken back. */
  readonly writes: readonly { readonly address: bigint; readonly bytes: Uint8Array }[]
  /**
   * Copied within the target before the writes, in this order, to writable memory that no thread uses yet: what was copied is not taken
   * back when a write fails.
   */
  readonly copies?: readonly MemoryCopy[]
  /**
   * Called once with all threads stopped. Must not allocate much, read files, log or wait. A blocker makes the switch let go
   * with nothing written.
   */
  inspect(stopped: StoppedThreads): Blocker | undefined
  /**
   * Called right before the first thread is stopped: what `inspect` needs is at hand then, compiled and in the processor's caches. `waiting` are
   * some threads that wait in the kernel, as far as the system tells without stopping them: instruction and stack pointers, no other
   * registers, and their stacks, which may be changing. Nothing may be concluded from them.
   */
  rehearse?(waiting: StoppedThreads): void
  /** Milliseconds for all threads to stop. */
  readonly stopTimeout: number
  /** What of the stacks shall be read, all at once, before `inspect` is called. undefined: nothing. */
  readonly stacks?: StackRequest
  /** Threads that are stopped before all others, each in a moment that suits. Asks for `stacks`, too. */
  readonly catchFirst?: CatchRequest
}

/**
 * Threads are let run and looked at now and then, on Linux at each of their system calls, until `isOut` says that one is where it shall be; it
 * then stays stopped. Whatever the result, all are stopped then, and `inspect` decides. When the engine dies meanwhile, they run on
 * (on Windows as after a death in a stop).
 */
export interface CatchRequest {
  /** Their ids. */
  readonly threads: readonly number[]
  /** Milliseconds to wait for them. */
  readonly within: number
  /** Milliseconds that those which are out are kept waiting for the rest. */
  readonly hold: number
  /** The thread at `index` is stopped, others need not be. */
  isOut(stopped: StoppedThreads, index: number): boolean
}

export interface MemoryCopy {
  readonly from: bigint
  readonly to: bigint
  readonly length: number
}

export interface StackRequest {
  /** Of each thread's stack, in bytes; a multiple of 8. */
  readonly bytes: number
  /** As `Process.regions()` told them shortly before: what is read ends where the stack's region does. */
  readonly regions: readonly Region[]
}

export interface StoppedThreads {
  readonly count: number
  id(index: number): number
  instructionPointer(index: number): bigint
  stackPointer(index: number): bigint
  /**
   * Fills `into` by DWARF's numbers of the machine's registers (x64: 0 to 15, and 16, the instruction pointer). Numbers instead of
   * bigint: nothing here may be allocated. A value of 2^53 and more, which is no address, loses its low bits. On ARM64 0 to 30 are x0 to x30, 31
   * is sp and 32 pc; x30 comes without a signature, its upper 16 bits cleared, for what is signed is an address.
   */
  registers(index: number, into: Float64Array): void
  /** Where the thread's own data begins, if the system puts it at the upper end of the thread's stack (Linux: fs_base); else NaN. */
  threadPointer(index: number): number
  /** What `SwitchRequest.stacks` asked for. Valid until the next call. */
  stack(index: number): StackWindow
  /** Reads from `address` on, into `into` from its start: how many bytes can be read, at most `into.length`; 0 where none. Throws nothing. */
  read(address: number, into: Uint8Array): number
}

/** A thread's stack, from a little below the stack pointer on (BELOW of stack-windows.ts). */
export interface StackWindow {
  /** Of its first byte; a multiple of 8. */
  readonly address: number
  /** Bytes that could be read, a multiple of 8; 0 where none could. */
  readonly length: number
  /** Memory that holds it, in little-endian halves: the word at address + 8 * i is words[at + 2 * i] and, the upper half, words[at + 2 * i + 1]. */
  readonly words: Uint32Array
  readonly at: number
}

export interface Blocker {
  readonly threadId: number
  readonly instructionPointer: bigint
  /** Index into what the caller guards; the caller knows its meaning. */
  readonly guard: number
}

export type SwitchOutcome =
  | { readonly switched: true; readonly stoppedMicroseconds: number; readonly threads: number }
  | { readonly switched: false; readonly blocker: Blocker; readonly stoppedMicroseconds: number; readonly threads: number }

export type UnwindRequest =
  /** ELF. The section's absolute address and size. */
  | { readonly kind: 'eh_frame'; readonly address: bigint; readonly size: number }
  /** PE. `imageBase` is what the RVAs of the records count from. */
  | { readonly kind: 'pdata'; readonly address: bigint; readonly count: number; readonly imageBase: bigint }

/** What undoing needs, small enough for the ledger. */
export interface UnwindRegistration {
  readonly kind: 'eh_frame' | 'pdata'
  readonly address: bigint
}
