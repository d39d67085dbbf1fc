/** What is patched, from the ledgers that the processes carry. */
import { HotpatchError } from '../errors.ts'
import type { Backend, Process } from '../process/contract.ts'
import { isNamed } from './everywhere.ts'
import { findLedgers } from './find-ledgers.ts'
import { isInterrupted, type Ledger } from './ledger.ts'
import type { CalloutState, LedgerState, RedirectKind } from './ledger-format.ts'
import { type Remedy, remedyFor } from './recover.ts'
import { hexAddress, hexBytes } from './sites.ts'

export interface ProcessStatus {
  readonly pid: number
  readonly name: string
  readonly patches: readonly PatchStatus[]
  /** Ledgers that cannot be read, each with what is wrong. */
  readonly damaged: readonly { readonly code: string; readonly detail: string }[]
}

export interface PatchStatus {
  readonly id: string
  readonly sequence: number
  readonly description: string
  readonly cves: readonly string[]
  /** applied, superseded or reverted (undone): then its memory is retired; or the step that an engine was cut off in. */
  readonly state: LedgerState
  /** For an unfinished step: what the next apply or rollback will do with it. */
  readonly recovery: 'none' | Remedy
  /** The patch whose place it took, and that which took its place, as long as their ledgers are there. */
  readonly supersedes: PatchName | undefined
  readonly supersededBy: PatchName | undefined
  /** Which operation the patch's callback was last called with; undefined: it has none. */
  readonly callout: CalloutState | undefined
  readonly base: { readonly name: string; readonly path: string; readonly address: string }
  readonly functions: readonly {
    readonly name: string
    readonly file: string
    readonly address: string
    readonly target: string
    readonly redirect: RedirectKind
  }[]
  /** ISO 8601. */
  readonly appliedAt: string | undefined
  readonly revertedAt: string | undefined
  /** The hotpatch that applied it. */
  readonly tool: string
  /** Not mapped: it was given back. */
  readonly image: { readonly address: string; readonly size: number; readonly sha256: string; readonly mapped: boolean }
  /** The region of stubs, pointers and ledger. */
  readonly region: { readonly address: string; readonly size: number }
}

export interface PatchName {
  readonly id: string
  readonly sequence: number
}

/** Changes nothing, stops nothing. */
export function statusOf(process: Process): ProcessStatus {
  const { ledgers, damaged } = findLedgers(process)
  return {
    pid: process.pid,
    name: process.name,
    patches: ledgers.map((ledger) => patchStatus(process, ledger, ledgers)),
    damaged: damaged.map(({ code, detail }) => ({ code, detail })),
  }
}

export interface StatusOfAll {
  /** Those that carry a ledger. */
  readonly processes: readonly ProcessStatus[]
  /** How many were looked at, and how many could not be, by the code that says why. */
  readonly looked: number
  readonly unreadable: Readonly<Record<string, number>>
}

export function statusOfAll(backend: Backend, name?: string): StatusOfAll {
  const processes: ProcessStatus[] = []
  const unreadable: Record<string, number> = {}
  let looked = 0
  for (const { pid } of backend.list().filter((process) => isNamed(process.name, name))) {
    try {
      const status = withProcess(backend, pid, statusOf)
      looked++
      if (status.patches.length + status.damaged.length > 0) processes.push(status)
    } catch (error) {
      if (!(error instanceof HotpatchError)) throw error
      unreadable[error.code] = (unreadable[error.code] ?? 0) + 1
    }
  }
  return { processes, looked, unreadable }
}

function withProcess<T>(backend: Backend, pid: number, use: (process: Process) => T): T {
  const process = backend.open(pid)
  try {
    return use(process)
  } finally {
    process.close()
  }
}

function patchStatus(process: Process, ledger: Ledger, ledgers: readonly Ledger[]): PatchStatus {
  const nameAt = (address: bigint): PatchName | undefined => {
    const other = address === 0n ? undefined : ledgers.find((candidate) => candidate.address === address)
    return other && { id: other.names.id, sequence: other.sequence }
  }
  const { id, description, cves, tool, baseName, basePath } = ledger.names
  return {
    id,
    sequence: ledger.sequence,
    description,
    cves,
    state: ledger.state,
    recovery: isInterrupted(ledger) ? remedyFor(process, ledger, ledgers) : 'none',
    supersedes: nameAt(ledger.predecessor),
    supersededBy: nameAt(ledger.successor),
    callout: ledger.callout === 0n ? undefined : ledger.calloutState,
    base: { name: baseName, path: basePath, address: hexAddress(ledger.base.address) },
    functions: ledger.functions.map((f) => ({
      name: f.name,
      file: f.file,
      address: hexAddress(f.entryAddress),
      target: hexAddress(f.target),
      redirect: f.kind,
    })),
    appliedAt: time(ledger.switchedAt),
    revertedAt: time(ledger.revertedAt),
    tool,
    image: {
      address: hexAddress(ledger.image.address),
      size: ledger.image.size,
      sha256: hexBytes(ledger.image.fileSha256),
      mapped: ledger.imageState === 'mapped',
    },
    region: { address: hexAddress(ledger.address), size: ledger.regionSize },
  }
}

/** undefined, too, for a number that is no time: the words that change are under no checksum. */
const time = (milliseconds: number): string | undefined =>
  milliseconds === 0 || milliseconds > LAST_TIME ? undefined : new Date(milliseconds).toISOString()

/** ECMAScript's. */
const LAST_TIME = 8.64e15
