/**
 * The ledger: what a patched process knows of its own patch.
 *
 * One region of memory is mapped beside the base image for every patch that is applied to it:
 *
 *     ledger pages            r     header, records, original bytes, names
 *     stub page, pointer page rx r  512 stubs of 8 bytes; stub i jumps through pointer i, 4096 bytes behind it
 *     ... one such pair for every 512 functions
 *
 * The ledger stands first, so that the start of a region in the memory map is the start of a ledger: whoever looks for ledgers
 * reads eight bytes of each candidate. Nothing in it refers to a file: status, verify and rollback need the process alone. The
 * header also holds its own address, so that a copy of a ledger lying elsewhere is not taken for one.
 *
 * Everything but nine words is fixed and under a checksum from the first instant: the region is mapped with its contents. The words
 * are aligned and each change is one 8-byte store. The state goes
 *
 *     loading → prepared → switching → applied → reverting → reverted
 *                                      applied → superseded → resuming → applied
 *
 * and every step of the engine comes after the word that announces it and before the word that says it is done. So an engine may
 * be killed between any two steps; what the next one finds, and may conclude, is:
 *
 *     loading    The region is there. The patch image may be missing, there, or there in part. The base image is untouched.
 *     prepared   The patch image is wholly there. Pads before functions may have been written; no way leads to them yet. Not one
 *                entry is changed, so no thread has ever been in the patch image or in a stub.
 *     switching  Entries may have been changed: none, some or all. Threads may be in the patch image.
 *     applied    Every entry leads to the patch image.
 *     reverting  As switching: the bytes decide.
 *     reverted   What was before is back. Threads may still be in the patch image or hold pointers into it, so the image and
 *                this region stay mapped, registered for unwinding, until it is seen that nothing leads into them (reclaim.ts);
 *                they are called retired.
 *     superseded Another patch stands in its place. It can be resumed as long as it is one of the last, and its region may hold stubs
 *                that its successors use; then retired, too.
 *     resuming   It is about to be in place again: its successor is being rolled back to it.
 *
 * The bytes, not the state, decide between `switching` and `applied`: an entry either leads to its stub or it does
 * not, a pointer either holds the new function or the old. They are written together while all threads are stopped; if some are new and
 * some are not, a switch was cut off, and the next engine takes it back. recover.ts is that rule.
 *
 * Taking another patch's place
 *
 * Code is written once for a function: where the patch that is in place (P) and the new one (S) both redirect it, S's function record
 * names the stub that stands, by the region that it lies in, and only the pointer behind it changes. S's sites hold the original bytes
 * of all functions that it redirects, taken over from P's ledger: S alone is enough to restore the original program. Both ledgers change, in
 * this order:
 *
 *     S loading, prepared      as ever; pads only before functions that P does not redirect
 *     P.successor = S          P stays applied
 *     S switching
 *     (stop: pointers of what both redirect, entries that S adds, entries that only P had, values of variables)
 *     S applied                from here on S is in place
 *     (pads that only P used are taken back)
 *     P superseded
 *
 * and when S is rolled back to P:
 *
 *     P resuming               (pads that only P uses are written)
 *     S reverting
 *     (stop: the same, the other way)
 *     (pads that only S used are taken back)
 *     S reverted
 *     P applied, P.successor = 0
 *
 * While S is switching or reverting, P being `applied` or `resuming` says that P is the other side of the switch; `superseded` says that the
 * original program is. An `applied` P whose successor is set is not at rest: if S is in place, P becomes superseded, if S is
 * reverted or gone, the word is cleared. S is always brought to rest first.
 *
 * Several ledgers in one stop (patches of one update, for different base images)
 *
 * Their `fellow` words lead from one to the next and around, written before the first of them is switching or reverting. The rule of the bytes
 * is then over all of them: they are applied if every entry of every one leads to its patch image, and else each is taken back. A fellow that
 * is applied has come to its end, one that is reverted or gone was taken back; both settle it for the others.
 *
 * A call that registers unwind data cannot be made together with the word that remembers it. Undoing a registration that was
 * never made ends the process (libgcc aborts), so when the word says registering or unregistering nobody knows, and the image stays
 * where it is. unwindState: none → registering → registered → unregistering → none.
 *
 * The patch's callback (callout.ts) is code of the patch image, so once it was called the image has to stay, as if it had been switched to.
 * A call cannot be made together with its note either: the word is written before the call, so a callback is called at most once for
 * each operation, and may be told of an undoing without having been told of the beginning. calloutState: none → before → after → undone.
 *
 * Memory is given back in this order: the image (imageState mapped → unmapping → unmapped), then the region.
 *
 * Undoing needs the sites: address, original bytes, replacement. Sites of phase `prepare` are pads; sites of phase `switch` are
 * entries. The names are for people: a ledger whose names another version writes differently can still be undone. Only which
 * variable is which (carry.ts) is told by them.
 */
import type { Protection } from '../patch/image.ts'
import type { Process, UnwindRequest } from '../process/contract.ts'
import {
  CALLOUT_STATES,
  type CalloutState,
  IMAGE_STATES,
  type ImageState,
  LEDGER_HEADER,
  LEDGER_STATES,
  type LedgerState,
  type RedirectKind,
  type SitePhase,
  UNWIND_STATES,
  type UnwindState,
} from './ledger-format.ts'

/** What people call the things that the records hold. */
export interface LedgerNames {
  readonly id: string
  readonly description: string
  readonly cves: readonly string[]
  /** hotpatch's own version, that applied it. */
  readonly tool: string
  readonly baseName: string
  readonly basePath: string
  /** Variables that the patch brought, in its writable memory. */
  readonly data: readonly LedgerDatum[]
  /** Thread-local variables that the patch brought. */
  readonly threadLocal: readonly LedgerThreadLocal[]
  /** Whether the program can have come to hold addresses of the image's code, its writable data, its constants. */
  readonly escapes: { readonly code: boolean; readonly data: boolean; readonly constants: boolean }
  /** In the order of the function records. */
  readonly functions: readonly Pick<LedgerFunction, 'name' | 'file' | 'fragments'>[]
}

export interface LedgerDatum {
  readonly name: string
  /** '' where it is not known. */
  readonly file: string
  /** In the patch image. */
  readonly rva: number
  readonly size: number
}

export interface LedgerThreadLocal extends LedgerDatum {
  /** The soname or file name of the module whose block it lies in ('': not known), and where in that. */
  readonly module: string
  readonly offset: number
  /** Bytes from the thread pointer; of PE, from the start of the block. */
  readonly distance: bigint
  /** PE: the number by which a thread finds the block. */
  readonly index?: number
}

export interface LedgerFunction {
  readonly name: string
  readonly file: string
  readonly entryAddress: bigint
  /** Address of the new function. */
  readonly target: bigint
  readonly rva: number
  readonly size: number
  readonly targetRva: number
  readonly targetSize: number
  /** Address of the ledger whose region the stub lies in: the ledger's own, or one that was before it. */
  readonly region: bigint
  /** Of the stub in that region. */
  readonly stubOffset: number
  readonly stubCode: Uint8Array
  readonly kind: RedirectKind
  /** No instruction begins strictly inside what its switch overwrites. */
  readonly safeWhileRunning: boolean
  /** Parts of the old function that the compiler has put elsewhere, in the base image. */
  readonly fragments: readonly { readonly rva: number; readonly size: number }[]
}

/** Bytes of the base image that are rewritten as one. */
export interface Site {
  readonly address: bigint
  /** Index into the functions. */
  readonly function: number
  readonly phase: SitePhase
  readonly original: Uint8Array
  readonly replacement: Uint8Array
}

export interface LedgerSegment {
  readonly rva: number
  readonly size: number
  readonly protection: Protection
  /** SHA-256 of every page; empty where the segment is writable. */
  readonly pageHashes: readonly Uint8Array[]
}

/** What never changes in a ledger. */
export interface LedgerBody {
  /** Of the region, and so of the ledger. */
  readonly address: bigint
  readonly regionSize: number
  readonly machine: 'x64' | 'arm64'
  readonly sequence: number
  /** Address of the ledger whose place it takes; 0n: it is the first. */
  readonly predecessor: bigint
  /** Its functions are only right together: no weaker consistency will do, neither to come nor to go. */
  readonly wholeAtOneInstant: boolean
  readonly base: {
    readonly address: bigint
    readonly size: number
    readonly format: 'elf' | 'pe'
    readonly timeDateStamp: number
    readonly checkSum: number
  }
  readonly image: { readonly address: bigint; readonly size: number; readonly fileSha256: Uint8Array }
  readonly unwind: UnwindRequest | undefined
  /** Address of the patch's callback; 0n: it has none. */
  readonly callout: bigint
  /** Offset of the first pair of stub page and pointer page. */
  readonly pairsOffset: number
  readonly pairCount: number
  readonly functions: readonly LedgerFunction[]
  readonly sites: readonly Site[]
  readonly segments: readonly LedgerSegment[]
  readonly names: Omit<LedgerNames, 'functions'>
}

export interface Ledger extends LedgerBody {
  readonly state: LedgerState
  /** Address of the ledger that takes its place or is about to; 0n: none. */
  readonly successor: bigint
  /** Address of the next ledger of those that switch in one stop; 0n: it switches alone. Means something while it is switching or reverting. */
  readonly fellow: bigint
  readonly imageState: ImageState
  readonly calloutState: CalloutState
  readonly unwindState: UnwindState
  readonly unwindRegistration: bigint
  /** Milliseconds since 1970; 0: not yet. */
  readonly switchedAt: number
  readonly revertedAt: number
}

/** It has, or may have, something in the base image. */
export const isActive = (ledger: Ledger): boolean => ledger.state !== 'reverted' && ledger.state !== 'superseded'
/** It is in the base image, wholly, and nothing is about to take its place. */
export const isInPlace = (ledger: Ledger): boolean => ledger.state === 'applied' && ledger.successor === 0n
/** An engine was cut off in the middle, or is at work right now. */
export const isInterrupted = (ledger: Ledger): boolean => isActive(ledger) && !isInPlace(ledger)

/** One of the words that change. */
export type LedgerWord =
  | 'state'
  | 'unwindState'
  | 'unwindRegistration'
  | 'switchedAt'
  | 'revertedAt'
  | 'successor'
  | 'fellow'
  | 'imageState'
  | 'calloutState'

export function writeWord(process: Process, ledger: Pick<LedgerBody, 'address'>, word: LedgerWord, value: bigint): void {
  const data = new Uint8Array(8)
  new DataView(data.buffer).setBigUint64(0, value, true)
  process.write(ledger.address + BigInt(LEDGER_HEADER.offsets[word]), data)
}

export const setState = (process: Process, ledger: Pick<LedgerBody, 'address'>, state: LedgerState): void =>
  writeWord(process, ledger, 'state', BigInt(LEDGER_STATES[state]))

/** Those that switch in one stop, before the first of them is switching or reverting. */
export function tieTogether(process: Process, ledgers: readonly Pick<LedgerBody, 'address'>[]): void {
  for (const [i, ledger] of ledgers.entries()) {
    const next = ledgers[(i + 1) % ledgers.length]
    writeWord(process, ledger, 'fellow', next === undefined || next === ledger ? 0n : next.address)
  }
}

export const setUnwindState = (process: Process, ledger: Pick<LedgerBody, 'address'>, state: UnwindState): void =>
  writeWord(process, ledger, 'unwindState', BigInt(UNWIND_STATES[state]))

export const setImageState = (process: Process, ledger: Pick<LedgerBody, 'address'>, state: ImageState): void =>
  writeWord(process, ledger, 'imageState', BigInt(IMAGE_STATES[state]))

export const setCalloutState = (process: Process, ledger: Pick<LedgerBody, 'address'>, state: CalloutState): void =>
  writeWord(process, ledger, 'calloutState', BigInt(CALLOUT_STATES[state]))
