/** Functions of a process by their names, and calls of them. */
import { HotpatchError } from '../../errors.ts'
import type { CallArgument, Process } from '../../process/contract.ts'
import type { LoadedModules } from '../imports/modules.ts'
import { noRoom } from './room.ts'

/** Milliseconds for each call. */
const CALL_MS = 10_000

export type Call<N extends string> = (name: N, ...args: CallArgument[]) => bigint

export interface LoaderFunctions<N extends string> {
  readonly addresses: ReadonlyMap<N, bigint>
  /** Those that the process does not have. */
  readonly missing: readonly N[]
}

/** @param libraries where they are, if nobody is before them; throws what looking up does, but for IMPORT_MISSING */
export function lookUp<N extends string>(modules: LoadedModules, names: readonly N[], libraries: readonly string[]): LoaderFunctions<N> {
  const addresses = new Map<N, bigint>()
  for (const name of names) {
    const address = addressOf(modules, name, libraries)
    if (address !== undefined) addresses.set(name, address)
  }
  return { addresses, missing: names.filter((name) => !addresses.has(name)) }
}

function addressOf(modules: LoadedModules, name: string, libraries: readonly string[]): bigint | undefined {
  const library = libraries.length === 1 ? libraries[0] : undefined
  try {
    const found = modules.find({ rva: 0, name, version: undefined, library }, libraries)
    return 'address' in found ? found.address : undefined
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'IMPORT_MISSING') return undefined
    throw error
  }
}

/**
 * Lets `action` call them, one after the other (`Process.calls`).
 * @param loading functions of which the system loads a module. Throws NO_THREAD_LOCAL where one is missing.
 */
export function withFunctions<N extends string, T>(
  process: Process,
  { addresses, missing }: LoaderFunctions<N>,
  loading: readonly N[],
  action: (call: Call<N>) => T,
): T {
  if (missing[0] !== undefined) throw noRoom(process, `it has no ${missing[0]}`)
  return process.calls((call) =>
    action((name, ...args) => call(addresses.get(name) ?? 0n, args, { deadlineMs: CALL_MS, loadsModules: loading.includes(name) })),
  )
}
