/**
 * Room in every thread of a process of PE: its loader loads a DLL of nothing else (module-pe.ts), which the process itself writes into its folder for
 * temporary files, for a DLL needs a file as long as it is loaded. Code finds a thread's copy of the block by the module's number and a variable by its distance
 * from the start. That every thread has its copy is looked at before anything relies on it.
 *
 * The DLL stays loaded when the patch goes. The next one that makes room unloads those that no patch image uses which is still mapped, and deletes their files. An
 * engine that dies leaves at most such a DLL, a file, an open handle of it, or a page with the name of a folder in the process; nothing uses them.
 */
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { PatchThreadLocal } from '../../patch/image.ts'
import type { Process } from '../../process/contract.ts'
import { modulesOf } from '../imports/resolve.ts'
import { MAPPING_NAME, PAGE } from '../pages.ts'
import { equal } from '../sites.ts'
import { threadWithoutBlock } from './blocks-pe.ts'
import { type Call, lookUp, withFunctions } from './calls.ts'
import { type ThreadLocalDll, threadLocalDll } from './module-pe.ts'
import { CHUNK, MOST_MODULES, noRoom, orUndo, type Room, type RoomMaker, tryThenClose, usedModules } from './room.ts'

/** winnt.h, fileapi.h. */
const GENERIC_WRITE = 0x4000_0000n
const CREATE_NEW = 1n
const FILE_ATTRIBUTE_NORMAL = 0x80n
const INVALID_HANDLE_VALUE = 0xffff_ffff_ffff_ffffn

const FUNCTIONS = ['GetTempPathW', 'CreateFileW', 'WriteFile', 'CloseHandle', 'DeleteFileW', 'LoadLibraryExW', 'FreeLibrary'] as const
const LIBRARIES = ['kernel32.dll']
type Calls = Call<(typeof FUNCTIONS)[number]>

export const peRoom: RoomMaker = {
  missing: (process, image) => lookUp(modulesOf(process, image), FUNCTIONS, LIBRARIES).missing,
  make(process, image, threadLocal) {
    const functions = lookUp(modulesOf(process, image), FUNCTIONS, LIBRARIES)
    return withFunctions(process, functions, ['LoadLibraryExW'], (call) => {
      unloadUnused(process, call)
      return loadAnew(process, call, threadLocalDll(image.machine, threadLocal), threadLocal)
    })
  },
}

function loadAnew(process: Process, call: Calls, dll: ThreadLocalDll, threadLocal: PatchThreadLocal): Room {
  const file = writeFile(process, call, dll.bytes, folderOf(process, call))
  const base = orUndo(
    () => load(process, call, file.path, threadLocal),
    () => void call('DeleteFileW', wide(file.path)),
  )
  return orUndo(
    () => roomAt(process, base, dll, threadLocal, file.name),
    () => unload(call, base, file.path),
  )
}

/** Where it lies then. */
function load(process: Process, call: Calls, path: string, { size }: PatchThreadLocal): bigint {
  const base = call('LoadLibraryExW', wide(path), 0n, 0n)
  if (base === 0n) throw noRoom(process, `its loader does not load a DLL with ${size} bytes of them`)
  return base
}

/** Throws NO_THREAD_LOCAL where not every thread has it. */
function roomAt(process: Process, base: bigint, dll: ThreadLocalDll, { content, alignment }: PatchThreadLocal, module: string): Room {
  if (!equal(process.read(base + BigInt(dll.start), content.length), content)) throw noRoom(process, 'its loader has loaded another DLL')
  const index = viewOf(process.read(base + BigInt(dll.index), 4)).getUint32(0, true)
  const without = threadWithoutBlock(process, { index, content, alignment })
  if (without !== undefined) throw noRoom(process, without)
  return { module, start: 0n, index }
}

/** Its own number in the name keeps processes with one folder apart. */
const nameOf = ({ pid }: Process, number: number): string => `hotpatch-thread-local-${pid}-${String(number).padStart(2, '0')}.dll`
const isOurs = (name: string): boolean => /^hotpatch-thread-local-\d+-\d+\.dll$/i.test(name)

/** From an apply before, whose patch has gone or whose engine has died. */
function unloadUnused(process: Process, call: Calls): void {
  const isUsed = usedModules(process)
  for (const { name, path, base } of process.modules())
    if (isOurs(name) && !isUsed(name.toLowerCase(), () => true)) unload(call, base, path)
}

function unload(call: Calls, base: bigint, path: string): void {
  call('FreeLibrary', base)
  call('DeleteFileW', wide(path))
}

/** A file that nobody else can have made, of that content. Throws NO_THREAD_LOCAL. */
function writeFile(process: Process, call: Calls, bytes: Uint8Array, folder: string): { readonly name: string; readonly path: string } {
  const loaded = new Set(process.modules().map(({ name }) => name.toLowerCase()))
  const free = Array.from({ length: MOST_MODULES }, (_, number) => nameOf(process, number)).filter((name) => !loaded.has(name))
  for (const name of free.slice(0, FILE_TRIES)) {
    const path = folder + name
    // What an engine that died has left, or another process of that number.
    call('DeleteFileW', wide(path))
    const handle = call('CreateFileW', wide(path), GENERIC_WRITE, 0n, 0n, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, 0n)
    if (handle === INVALID_HANDLE_VALUE) continue
    orUndo(
      () =>
        tryThenClose(
          () => writeAll(process, call, handle, bytes),
          () => void call('CloseHandle', handle),
        ),
      () => void call('DeleteFileW', wide(path)),
    )
    return { name, path }
  }
  throw noRoom(process, free.length === 0 ? `it has ${MOST_MODULES} modules with them already` : `it cannot make a file in ${folder}`)
}

/** One more is taken for each that an engine has died over while it was open. */
const FILE_TRIES = 10

function writeAll(process: Process, call: Calls, handle: bigint, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += CHUNK) {
    const chunk = bytes.subarray(at, at + CHUNK)
    const written = call('WriteFile', handle, chunk, BigInt(chunk.length), new Uint8Array(4), 0n)
    if (!isTrue(written)) throw noRoom(process, 'WriteFile answers an error')
  }
}

/** The process' own folder for temporary files, with the backslash behind it. Throws NO_THREAD_LOCAL. */
function folderOf(process: Process, call: Calls): string {
  const place = process.findPlace({ size: PAGE, near: NEAR, low: 0n, high: 1n << 47n })
  if (place === undefined) throw noRoom(process, 'it has no free page for the name of a folder')
  process.map({
    address: place,
    name: `${MAPPING_NAME}path`,
    segments: [{ offset: 0, size: PAGE, protection: 'rw', content: new Uint8Array() }],
  })
  let late = false
  const ask = (): string => {
    try {
      const length = Number(call('GetTempPathW', BigInt(MOST_CHARACTERS), place) & U32)
      if (length === 0 || length > MOST_CHARACTERS) throw noRoom(process, 'it has no folder for temporary files')
      return Buffer.from(process.read(place, 2 * length)).toString('utf16le')
    } catch (error) {
      // A call that comes back late writes there.
      late = error instanceof HotpatchError && error.code === 'CALL_TIMEOUT'
      throw error
    }
  }
  return tryThenClose(ask, () => {
    if (!late) process.unmap(place, PAGE)
  })
}

/** MAX_PATH and the zero. */
const MOST_CHARACTERS = 261
/** Where calls have their memory: behind what programs at fixed addresses want. */
const NEAR = 0x1_0000_0000n
const U32 = 0xffff_ffffn

/** A BOOL is 32 bits wide; what lies above it in the register is anybody's. */
const isTrue = (value: bigint): boolean => (value & U32) !== 0n

const wide = (text: string): Uint8Array => Buffer.from(`${text}\0`, 'utf16le')
