/**
 * Room in every thread of a process of ELF: its C library loads a module of nothing else (module-elf.ts) out of a file without a name. From then on the
 * variables lie at a fixed distance from each thread's pointer. The module stays loaded when the patch goes. Where it is wanted again and the
 * patch's image is mapped no more, it is loaded anew: its variables begin with their initial values, in the room that they had.
 */
import { viewOf } from '../../binary/struct.ts'
import type { PatchImage, PatchThreadLocal } from '../../patch/image.ts'
import type { Process } from '../../process/contract.ts'
import { modulesOf } from '../imports/resolve.ts'
import { type Call, lookUp, withFunctions } from './calls.ts'
import { DISTANCE_SLOT, type ThreadLocalModule, threadLocalModule } from './module-elf.ts'
import { CHUNK, MOST_MODULES, noRoom, type RoomMaker, tryThenClose, usedModules } from './room.ts'

/** <dlfcn.h>. */
const RTLD_NOW = 2n
const RTLD_NOLOAD = 4n
/** <sys/mman.h>. */
const MFD_CLOEXEC = 1n

const FUNCTIONS = ['memfd_create', 'pwrite', 'close', 'dlopen', 'dlsym', 'dlclose'] as const
/** Of glibc the second until 2.33. */
const LIBRARIES = ['libc.so.6', 'libdl.so.2']
type Calls = Call<(typeof FUNCTIONS)[number]>

export const elfRoom: RoomMaker = {
  missing: (process, image) => lookUp(modulesOf(process, image), FUNCTIONS, LIBRARIES).missing,
  make(process, image, threadLocal) {
    const module = unusedModule(process, image, threadLocal)
    return { module: module.soname, start: load(process, image, module) }
  },
}

/** One that no patch image uses which is still mapped: code of it may yet run. */
function unusedModule(process: Process, image: PatchImage, threadLocal: PatchThreadLocal): ThreadLocalModule {
  const isUsed = usedModules(process)
  for (let number = 0; number < MOST_MODULES; number++) {
    const module = threadLocalModule(image.machine, threadLocal, number)
    if (!isUsed(module.soname, () => modulesOf(process, image).isLoaded(module.soname))) return module
  }
  throw noRoom(process, `it has ${MOST_MODULES} modules with them already`)
}

/** From the thread pointer to the block of the module, once the process has loaded it. */
function load(process: Process, image: PatchImage, module: ThreadLocalModule): bigint {
  const modules = modulesOf(process, image)
  return withFunctions(process, lookUp(modules, FUNCTIONS, LIBRARIES), ['memfd_create', 'dlopen'], (call) => {
    if (modules.isLoaded(module.soname)) unload(call, module.soname)
    return loadAnew(process, call, image, module)
  })
}

function loadAnew(process: Process, call: Calls, image: PatchImage, { soname, bytes }: ThreadLocalModule): bigint {
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

/** From an apply before, whose patch has gone. */
function unload(call: Call<'dlopen' | 'dlclose'>, soname: string): void {
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
