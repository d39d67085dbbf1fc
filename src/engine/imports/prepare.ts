/**
 * What an apply does for imports before it maps anything: the target loads the libraries that it lacks, as it would by dlopen, and answers
 * for its indirect functions. An engine that dies meanwhile leaves at most a library more in the process, which nothing uses.
 */
import { HotpatchError } from '../../errors.ts'
import type { PatchImage, PatchImport } from '../../patch/image.ts'
import type { Process } from '../../process/contract.ts'
import { hexAddress } from '../sites.ts'
import { modulesOf, type ResolvedImports } from './resolve.ts'

/** Milliseconds for a library's constructors. */
const DEADLINE_MS = 10_000
/** <dlfcn.h>: everything is bound at once, and what cannot be makes the call fail. */
const RTLD_NOW = 2n
/** The application's folder and System32: never the current folder. */
const LOAD_LIBRARY_SEARCH_DEFAULT_DIRS = 0x1000n

/**
 * They stay loaded, also when the patch goes: what they have started nobody can know to be over.
 * Throws LIBRARY_NOT_LOADED; CALL_FAULTED, CALL_TIMEOUT, NO_SAFE_THREAD, MAPPING_REFUSED and what else the process throws.
 */
export function loadLibraries(process: Process, image: PatchImage, libraries: readonly string[]): void {
  const { loader } = modulesOf(process, image)
  for (const library of libraries) {
    const handle =
      loader === undefined ? 0n : process.call(loader, argumentsFor(image, library), { deadlineMs: DEADLINE_MS, loadsModules: true })
    if (handle === 0n)
      throw new HotpatchError('LIBRARY_NOT_LOADED', `process ${process.pid} could not load ${library}`, {
        facts: { pid: process.pid, library },
      })
  }
}

function argumentsFor({ format }: PatchImage, library: string): (bigint | Uint8Array)[] {
  if (format === 'elf') return [Buffer.from(`${library}\0`, 'utf8'), RTLD_NOW]
  return [Buffer.from(`${library}\0`, 'utf16le'), 0n, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS]
}

/** The address of every import. Throws IMPORT_MISSING where a resolver answers none, and what the process throws. */
export function addressesOf(process: Process, { found }: ResolvedImports): Map<PatchImport, bigint> {
  const addresses = new Map<PatchImport, bigint>()
  const answers = new Map<bigint, bigint>()
  for (const [wanted, where] of found) {
    if ('address' in where) {
      addresses.set(wanted, where.address)
      continue
    }
    const address = answers.get(where.resolver) ?? process.call(where.resolver, [], { deadlineMs: DEADLINE_MS })
    if (address === 0n)
      throw new HotpatchError('IMPORT_MISSING', `the resolver of ${wanted.name} at ${hexAddress(where.resolver)} answers no address`)
    answers.set(where.resolver, address)
    addresses.set(wanted, address)
  }
  return addresses
}
