/** What making room in every thread of a process is asked and answers, whatever the format: elf.ts, pe.ts. */
import { HotpatchError } from '../../errors.ts'
import type { PatchImage, PatchThreadLocal } from '../../patch/image.ts'
import type { Process } from '../../process/contract.ts'
import { VERSION } from '../../version.ts'
import { findLedgers } from '../find-ledgers.ts'

/** A module of nothing but thread-local data, of whose block every thread has a copy. */
export interface Room {
  /** The name that the process' loader knows it by. */
  readonly module: string
  /** Bytes from the thread pointer to each thread's copy (ELF); 0 where code counts from the copy itself (PE). */
  readonly start: bigint
  /** PE: the number by which a thread finds its copy. */
  readonly index?: number
}

export interface RoomMaker {
  /** Functions that it would call, and that the process does not have. Throws what looking them up does. */
  missing(process: Process, image: PatchImage): readonly string[]
  /**
   * Has the loader of the process load a module with the initial values, one whose variables no code uses that may yet run.
   * Throws NO_THREAD_LOCAL; CALL_FAULTED, CALL_TIMEOUT, NO_SAFE_THREAD, MAPPING_REFUSED and what else the process throws.
   */
  make(process: Process, image: PatchImage, threadLocal: PatchThreadLocal): Room
}

/** As many as patch images that have them. */
export const MOST_MODULES = 100

/** Bytes of a file that one call takes as an argument. */
export const CHUNK = 8192

export const noRoom = (process: Process, why: string): HotpatchError =>
  new HotpatchError('NO_THREAD_LOCAL', `process ${process.pid} could not make room for thread-local variables: ${why}`, {
    facts: { pid: process.pid },
  })

/**
 * Tells whether a module is used by a patch image that is still mapped: code of it may yet run. Where a ledger is of another version, which may name modules
 * otherwise, any that is loaded may be.
 */
export function usedModules(process: Process): (module: string, isLoaded: () => boolean) => boolean {
  const mapped = findLedgers(process).ledgers.filter(({ imageState }) => imageState !== 'unmapped')
  const used = new Set(mapped.flatMap(({ names }) => names.threadLocal.map(({ module }) => module)))
  const isSure = mapped.every(({ names }) => names.tool === VERSION)
  return (module, isLoaded) => used.has(module) || (!isSure && isLoaded())
}

/** Where both fail, the first failure is the one to tell. */
export function orUndo<T>(action: () => T, undo: () => void): T {
  try {
    return action()
  } catch (error) {
    try {
      undo()
    } catch (second) {
      if (error instanceof Error && error.cause === undefined) error.cause = second
    }
    throw error
  }
}

/** The same for what has to be done in either case. */
export function tryThenClose<T>(action: () => T, close: () => void): T {
  const result = orUndo(action, close)
  close()
  return result
}
