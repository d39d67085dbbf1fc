/**
 * The bytes of a ledger: tables, and reading and writing by them. What the ledger is for, and in which order its words change,
 * stands in ledger.ts.
 *
 *     LEDGER_HEADER
 *     LEDGER_FUNCTION[functionCount]
 *     LEDGER_SITE[siteCount]
 *     LEDGER_SEGMENT[segmentCount]
 *     SHA-256[pageHashCount]      of every page of the patch image that is not writable, segment by segment
 *     names                       JSON, UTF-8
 *
 * Offsets count from the start of the header, which is the start of the region.
 */
import { bytes, chars, struct, u8, u16, u32, u64 } from '../binary/struct.ts'

export const LEDGER_MAGIC = 'HPLEDGER'
export const LEDGER_LAYOUT = 4
/** No ledger is larger: ten thousand functions with their names and 100 MB of patch image fit. */
export const LEDGER_MAX_SIZE = 0x0100_0000

/** The most bytes that one site may hold. */
export const SITE_BYTES = 16
export const HASH_BYTES = 32

/** The mutable words come first; each is changed by one aligned 8-byte store. */
export const LEDGER_HEADER = struct('LEDGER_HEADER', {
  magic: chars(8),
  layout: u32,
  headerSize: u32,

  state: u64,
  unwindState: u64,
  /** What registerUnwind answered; meaningful from 'registered' on. */
  unwindRegistration: u64,
  /** Milliseconds since 1970; 0: not yet. */
  switchedAt: u64,
  revertedAt: u64,
  /** Address of the ledger that takes this one's place, or is about to. 0: none. */
  successor: u64,
  /** Address of another ledger that switches in the same stop; they form a ring. 0: it switches alone. */
  fellow: u64,
  imageState: u64,
  calloutState: u64,

  /** From here to the end of the ledger nothing ever changes; `checksum` is over it, itself left out. */
  selfAddress: u64,
  ledgerSize: u32,
  regionSize: u32,
  machine: u32,
  sequence: u32,

  /** Address of the ledger whose place this one takes. 0: it is the first. */
  predecessor: u64,

  baseAddress: u64,
  baseSize: u32,
  baseFormat: u32,
  baseTimeDateStamp: u32,
  baseCheckSum: u32,

  imageAddress: u64,
  /** Of the patch's callback; 0: it has none. */
  callout: u64,
  imageSize: u32,
  unwindKind: u32,
  unwindAddress: u64,
  /** eh_frame: bytes. pdata: records. */
  unwindExtent: u32,
  /** Pairs of stub page and pointer page, one behind the other. */
  pairCount: u32,
  pairsOffset: u32,

  functionCount: u32,
  siteCount: u32,
  segmentCount: u32,
  pageHashCount: u32,
  namesSize: u32,
  /** LEDGER_FLAGS. */
  flags: u32,
  reserved: u32,
  fileSha256: bytes(HASH_BYTES),

  checksum: bytes(HASH_BYTES),
})

/** A redirected function. */
export const LEDGER_FUNCTION = struct('LEDGER_FUNCTION', {
  entryAddress: u64,
  /** The new function: what the stub's pointer holds. */
  target: u64,
  /** Start of the region that its stub lies in: the ledger's own, or that of a predecessor which redirected the function first. */
  region: u64,
  /** Of the stub, from the start of that region. */
  stubOffset: u32,
  rva: u32,
  size: u32,
  targetRva: u32,
  targetSize: u32,
  kind: u32,
  /** FUNCTION_FLAGS. */
  flags: u32,
  reserved: u32,
  stubCode: bytes(8),
})

/** Bytes of the base image that are rewritten as one. */
export const LEDGER_SITE = struct('LEDGER_SITE', {
  address: u64,
  /** Index into the functions. */
  function: u32,
  phase: u8,
  length: u8,
  reserved: u16,
  original: bytes(SITE_BYTES),
  replacement: bytes(SITE_BYTES),
})

export const LEDGER_SEGMENT = struct('LEDGER_SEGMENT', {
  rva: u32,
  size: u32,
  protection: u32,
  /** How many of the page hashes are its own: all pages, or none where it is writable. */
  pageHashes: u32,
})

export const LEDGER_FLAGS = {
  /** Its functions are only right together: whatever comes or goes, all of them switch at one instant in which no thread is inside any. */
  wholeAtOneInstant: 1,
} as const

export const FUNCTION_FLAGS = {
  /** No instruction begins strictly inside what its switch overwrites. */
  safeWhileRunning: 1,
} as const

/** Numbers of names; 0 stands for no name, so that zeroed memory is never valid. */
export const LEDGER_STATES = {
  loading: 1,
  prepared: 2,
  switching: 3,
  applied: 4,
  reverting: 5,
  reverted: 6,
  superseded: 7,
  resuming: 8,
} as const
export type LedgerState = keyof typeof LEDGER_STATES

export const UNWIND_STATES = { none: 1, registering: 2, registered: 3, unregistering: 4 } as const
export type UnwindState = keyof typeof UNWIND_STATES

export const IMAGE_STATES = { mapped: 1, unmapping: 2, unmapped: 3 } as const
export type ImageState = keyof typeof IMAGE_STATES

/** Which operation the callback was last called with, or was about to be. */
export const CALLOUT_STATES = { none: 1, before: 2, after: 3, undone: 4 } as const
export type CalloutState = keyof typeof CALLOUT_STATES

export const MACHINES = { x64: 1, arm64: 2 } as const
export const FORMATS = { elf: 1, pe: 2 } as const
export const UNWIND_KINDS = { none: 1, eh_frame: 2, pdata: 3 } as const
export const REDIRECT_KINDS = { padding: 1, 'entry-nops': 2, 'first-bytes': 3 } as const
export type RedirectKind = keyof typeof REDIRECT_KINDS
/** prepare: written before the switch, harmless alone (padding). switch: written at the instant of the switch. */
export const SITE_PHASES = { prepare: 1, switch: 2 } as const
export type SitePhase = keyof typeof SITE_PHASES
/** As the p_flags of an ELF segment. */
export const PROTECTIONS = { r: 4, rx: 5, rw: 6 } as const

/** The name that `value` is the number of, or undefined. */
export function nameOf<const N extends Record<string, number>>(names: N, value: number | bigint): keyof N | undefined {
  for (const [name, number] of Object.entries(names)) if (number === Number(value)) return name as keyof N
  return undefined
}
