/**
 * Thread-local variables that a patch brings (ELF). Every thread gets room for them from the loader of the process: the engine has it load a module of
 * nothing else (module.ts), out of a file without a name, before the patch is mapped. From then on they lie at a fixed distance from each thread's
 * pointer, and the patch's code is filled in with that. An engine that dies meanwhile leaves a module that nothing uses.
 *
 * A variable that the patch before brought, too, stays where it is: its values go on. The module stays loaded when the patch goes. Where it is wanted
 * again and the patch's image is mapped no more, it is loaded anew: its variables begin with their initial values, in the room that they had.
 */
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { PatchImage, PatchThreadLocal } from '../../patch/image.ts'
import type { CallArgument, Process } from '../../process/contract.ts'
import { type Blocker, blocker, blockerOf } from '../blockers.ts'
import { byUniqueKey } from '../carry.ts'
import { findLedgers } from '../find-ledgers.ts'
import type { LoadedModules } from '../imports/modules.ts'
import { modulesOf } from '../imports/resolve.ts'
import type { Ledger, LedgerThreadLocal } from '../ledger.ts'
import { DISTANCE_SLOT, type ThreadLocalModule, threadLocalModule } from './module.ts'

/** Milliseconds for each call. */
const DEADLINE_MS = 10_000

/** Of the same data: as many as patch images that have them. */
const MOST_MODULES = 100

/** What a call takes as an argument. */
const CHUNK = 2048

/** <dlfcn.h>. */
const RTLD_NOW = 2n
const RTLD_NOLOAD = 4n
/** <sys/mman.h>. */
const MFD_CLOEXEC = 1n

const FUNCTIONS = ['memfd_create', 'pwrite', 'close', 'dlopen', 'dlsym', 'dlclose'] as const
type LoaderFunctions = Readonly<Record<(typeof FUNCTIONS)[number], bigint>>

/** What a variable is before its place is known: of the same length in a ledger. */
export const unplaced = (image: PatchImage): LedgerThreadLocal[] => variablesOf(image, '', 0n)

function variablesOf({ manifest, threadLocal }: PatchImage, module: string, start: bigint): LedgerThreadLocal[] {
  return manifest.added
    .filter(({ kind }) => kind === 'thread-local')
    .map(({ name, file = '', patchRva, size }) => {
      const offset = patchRva - (threadLocal?.rva ?? 0)
      return { name, file, rva: patchRva, size, module, offset, distance: start + BigInt(offset) }
    })
}

/** Why the process cannot make room for them, as far as can be seen without asking it to. */
export function threadLocalBlockers(process: Process, image: PatchImage, inPlace: Ledger | undefined): Blocker[] {
  if (image.threadLocal === undefined) return []
  if (inPlace !== undefined && placesKept(image, inPlace).every((place) => place !== undefined)) return []
  try {
    const missing = missingFunctions(modulesOf(process, image))
    if (missing.length === 0) return []
    return [blocker('NO_THREAD_LOCAL', '', `the process has no ${missing.join(', ')}: a static program has no loader that could give room`)]
  } catch (error) {
    return [blockerOf(error, '')]
  }
}

/**
 * Where each lies, in the manifest's order; room is made for those that the patch in place does not have.
 * Throws NO_THREAD_LOCAL; CALL_FAULTED, CALL_TIMEOUT, NO_SAFE_THREAD, MAPPING_REFUSED and what else the process throws.
 */
export function placeThreadLocals(process: Process, image: PatchImage, inPlace: Ledger | undefined): LedgerThreadLocal[] {
  const { threadLocal } = image
  if (threadLocal === undefined) return []
  const kept = inPlace === undefined ? [] : placesKept(image, inPlace)
  if (inPlace !== undefined && kept.every((place) => place !== undefined)) return kept.flatMap((place) => place ?? [])
  const module = unusedModule(process, image, threadLocal)
  const start = load(process, image, module)
  return variablesOf(image, module.soname, start).map((place, i) => kept[i] ?? place)
}

/** From the thread pointer to what has its initial value at an RVA of the image. */
export function distanceAt(places: readonly LedgerThreadLocal[], rva: number): bigint {
  const place = places.find((p) => rva >= p.rva && rva < p.rva + p.size) ?? places.find((p) => rva === p.rva + p.size)
  if (place === undefined) throw new HotpatchError('DEFECT', `no thread-local variable has its initial value at RVA 0x${rva.toString(16)}`)
  return place.distance + BigInt(rva - place.rva)
}

/** For each variable of the image the place that it has in the patch before, where there is one that is the same. */
function placesKept(image: PatchImage, { names }: Ledger): (LedgerThreadLocal | undefined)[] {
  const fresh = unplaced(image)
  const [before, after] = [byUniqueKey(names.threadLocal), byUniqueKey(fresh)]
  const places = new Map(
    [...after].flatMap(([key, variable]) => {
      const old = before.get(key)
      if (variable === undefined || old?.size !== variable.size) return []
      const { module, offset, distance } = old
      return [[variable, { ...variable, module, offset, distance }] as const]
    }),
  )
  return fresh.map((variable) => places.get(variable))
}

/** Variables that keep their values, by name. */
export const keptThreadLocals = (before: Pick<Ledger, 'names'>, after: Pick<Ledger, 'names'>): string[] =>
  after.names.threadLocal
    .filter(({ distance }) => before.names.threadLocal.some((old) => old.distance === distance))
    .map(({ name }) => name)

/** One that no patch image uses which is still mapped: code of it may yet run. */
function unusedModule(process: Process, image: PatchImage, threadLocal: PatchThreadLocal): ThreadLocalModule {
  const { ledgers } = findLedgers(process)
  const used = new Set(
    ledgers.flatMap(({ names, imageState }) => (imageState === 'unmapped' ? [] : names.threadLocal.map((v) => v.module))),
  )
  for (let number = 0; number < MOST_MODULES; number++) {
    const module = threadLocalModule(image.machine, threadLocal, number)
    if (!used.has(module.soname)) return module
  }
  throw noRoom(process, `it has ${MOST_MODULES} modules with them already`)
}

/** From the thread pointer to the block of the module, once the process has loaded it. */
function load(process: Process, image: PatchImage, { soname, bytes }: ThreadLocalModule): bigint {
  const modules = modulesOf(process, image)
  const [missing] = missingFunctions(modules)
  if (missing !== undefined) throw noRoom(process, `it has no ${missing}`)
  const functions = loaderFunctions(modules)
  const call = (name: (typeof FUNCTIONS)[number], ...args: CallArgument[]): bigint =>
    process.call(functions[name], args, { deadlineMs: DEADLINE_MS, loadsModules: name === 'memfd_create' || name === 'dlopen' })
  if (modules.isLoaded(soname)) unload(call, soname)
  const file = BigInt.asIntN(32, call('memfd_create', text('hotpatch-thread-local'), MFD_CLOEXEC))
  if (file < 0n) throw noRoom(process, 'memfd_create answers an error')
  return tryThenClose(
    () => {
      for (let at = 0; at < bytes.length; at += CHUNK) {
        const chunk = bytes.subarray(at, at + CHUNK)
        if (call('pwrite', file, chunk, BigInt(chunk.length), BigInt(at)) !== BigInt(chunk.length))
          throw noRoom(process, 'pwrite answers an error')
      }
      const handle = call('dlopen', text(pathOf(file, soname)), RTLD_NOW)
      if (handle === 0n) throw noRoom(process, `its loader does not load a module with ${image.threadLocal?.size} bytes of them`)
      const slot = call('dlsym', handle, text(DISTANCE_SLOT))
      if (slot === 0n) throw noRoom(process, `its loader does not find ${DISTANCE_SLOT}`)
      return viewOf(process.read(slot, 8)).getBigInt64(0, true)
    },
    () => void call('close', file),
  )
}

/** Where both fail, the first failure is the one to tell. */
function tryThenClose<T>(action: () => T, close: () => void): T {
  let result: T
  try {
    result = action()
  } catch (error) {
    try {
      close()
    } catch (second) {
      if (error instanceof Error && error.cause === undefined) error.cause = second
    }
    throw error
  }
  close()
  return result
}

/** From an apply before, whose patch has gone. */
function unload(call: (name: 'dlopen' | 'dlclose', ...args: CallArgument[]) => bigint, soname: string): void {
  const handle = call('dlopen', text(soname), RTLD_NOW | RTLD_NOLOAD)
  if (handle === 0n) return
  // What has just been counted, and what was when it was loaded.
  call('dlclose', handle)
  call('dlclose', handle)
}

/** The loader takes a module of an equal path for the same: there is one for each, through more or fewer dots. */
function pathOf(file: bigint, soname: string): string {
  const [, digest = '', number = ''] = /([0-9a-f]{16})-(\d\d)\.so$/.exec(soname) ?? []
  const bits = [...digest, ...number].flatMap((digit) => [...Number.parseInt(digit, 16).toString(2).padStart(4, '0')])
  return `/proc/self/fd${bits.map((bit) => (bit === '1' ? '/.' : '/')).join('')}/${file}`
}

const text = (value: string): Uint8Array => Buffer.from(`${value}\0`, 'utf8')

const noRoom = (process: Process, why: string): HotpatchError =>
  new HotpatchError('NO_THREAD_LOCAL', `process ${process.pid} could not make room for thread-local variables: ${why}`, {
    facts: { pid: process.pid },
  })

function addressOf(modules: LoadedModules, name: string): bigint | undefined {
  try {
    const found = modules.find({ rva: 0, name, version: undefined, library: undefined }, C_LIBRARIES)
    return 'address' in found ? found.address : undefined
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'IMPORT_MISSING') return undefined
    throw error
  }
}

/** Where they are, if nobody is before them: of glibc, the second until 2.33. */
const C_LIBRARIES = ['libc.so.6', 'libdl.so.2']

const missingFunctions = (modules: LoadedModules): string[] => FUNCTIONS.filter((name) => addressOf(modules, name) === undefined)

const loaderFunctions = (modules: LoadedModules): LoaderFunctions =>
  Object.fromEntries(FUNCTIONS.map((name) => [name, addressOf(modules, name) ?? 0n])) as LoaderFunctions
