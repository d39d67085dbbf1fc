/** What a format's reader finds of a patch image in a file, and the rules of layout that both formats share. */
import { HotpatchError } from '../errors.ts'
import { THREAD_LOCAL_ALIGNMENT } from './definitions.ts'
import type { PatchImage, PatchSegment, PatchThreadLocal, PatchUnwind, Protection } from './image.ts'

export interface FileParts extends Omit<PatchImage, 'table' | 'manifest' | 'fileSha256'> {
  /** From the start of the hot patch table; its end may be further. */
  readonly table: Uint8Array
  readonly manifest: Uint8Array
}

export const PAGE_SIZE = 0x1000

/** Large enough for every patch, small enough that a damaged file cannot make hotpatch eat the memory. */
const IMAGE_LIMIT = 256 * 1024 * 1024
const SEGMENT_LIMIT = 64
const RELOCATION_SIZE = 8
/** Bytes. No C library keeps more room for what comes later, and Windows' loader makes a copy for every thread. */
const THREAD_LOCAL_LIMIT = 65536

export const pageUp = (value: number): number => Math.ceil(value / PAGE_SIZE) * PAGE_SIZE
const hex = (value: number): string => `0x${value.toString(16)}`

export const layoutError = (what: string): HotpatchError => new HotpatchError('PATCH_IMAGE_MALFORMED', what)
export const unsupported = (what: string): HotpatchError => new HotpatchError('PATCH_IMAGE_UNSUPPORTED', what)
export const notAPatchImage = (what: string): HotpatchError => new HotpatchError('NOT_A_PATCH_IMAGE', what)

/** `size` bytes of initial values, zeros behind what there is of them. Throws PATCH_IMAGE_UNSUPPORTED. */
export function initialValues(content: Uint8Array, size: number): Uint8Array {
  if (size > THREAD_LOCAL_LIMIT) throw unsupported(`it has ${size} bytes of thread-local data, more than ${THREAD_LOCAL_LIMIT}`)
  const whole = new Uint8Array(size)
  whole.set(content.subarray(0, size))
  return whole
}

/** @param name of the section or segment, for messages. Throws PATCH_WRITABLE_CODE. */
export function protectionOf(name: string, { write, execute }: { write: boolean; execute: boolean }): Protection {
  if (write && execute) throw new HotpatchError('PATCH_WRITABLE_CODE', `${name} is both writable and executable`)
  if (execute) return 'rx'
  return write ? 'rw' : 'r'
}

/** One past the last mapped RVA. */
export const imageSizeOf = (segments: readonly PatchSegment[]): number => {
  const last = segments.at(-1)
  return last === undefined ? 0 : last.rva + last.size
}

/** Throws PATCH_IMAGE_MALFORMED. */
export function checkParts({ format, segments, relativeRelocations, imports, threadLocal, unwind, imageSize }: FileParts): void {
  if (imageSize > IMAGE_LIMIT) throw layoutError(`the image takes ${imageSize} bytes of memory, more than ${IMAGE_LIMIT}`)
  if (segments.length > SEGMENT_LIMIT) throw layoutError(`the image has ${segments.length} parts, more than ${SEGMENT_LIMIT}`)
  let end = 0
  for (const { rva, size, content } of segments) {
    if (rva % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0) throw layoutError(`the part at RVA ${hex(rva)} does not begin and end with a page`)
    if (rva < end) throw layoutError(`the part at RVA ${hex(rva)} shares pages with the one before it`)
    if (content.length > size) throw layoutError(`the part at RVA ${hex(rva)} has more bytes than room`)
    end = rva + size
  }
  const inside = (rva: number, length: number): boolean => segments.some((s) => rva >= s.rva && rva + length <= s.rva + s.size)
  const astray = [...relativeRelocations, ...imports, ...(threadLocal?.distances ?? [])].find(({ rva }) => !inside(rva, RELOCATION_SIZE))
  if (astray !== undefined) throw layoutError(`a relocation at RVA ${hex(astray.rva)} is outside of the image's parts`)
  if (threadLocal !== undefined) {
    checkThreadLocal(threadLocal, inside)
    if (threadLocal.alignment > THREAD_LOCAL_ALIGNMENT[format])
      throw unsupported(`its thread-local data are aligned to ${threadLocal.alignment} bytes, more than ${THREAD_LOCAL_ALIGNMENT[format]}`)
    const address = relativeRelocations.find(
      ({ rva }) => rva + RELOCATION_SIZE > threadLocal.rva && rva < threadLocal.rva + threadLocal.size,
    )
    if (address !== undefined) throw unsupported(`its thread-local data begin with an address, at RVA ${hex(address.rva)}`)
  }
  if (unwind !== undefined && !unwindExtents(unwind).every(([rva, length]) => inside(rva, length)))
    throw layoutError(`the unwind data at RVA ${hex(unwind.rva)} is outside of the image's parts`)
}

function checkThreadLocal({ rva, size, alignment, distances }: PatchThreadLocal, inside: (rva: number, length: number) => boolean): void {
  if (!inside(rva, size)) throw layoutError("the thread-local data are outside of the image's parts")
  if ((alignment & (alignment - 1)) !== 0) throw layoutError(`the thread-local data are aligned to ${alignment} bytes`)
  const astray = distances.find(({ target }) => target < rva || target > rva + size)
  if (astray !== undefined) throw layoutError(`a relocation at RVA ${hex(astray.rva)} leads outside of the thread-local data`)
}

/** Bytes of a RUNTIME_FUNCTION: three RVAs on x64, two words on ARM64. The smaller is what every one takes. */
const RUNTIME_FUNCTION_LEAST = 8

const unwindExtents = (unwind: PatchUnwind): [number, number][] =>
  unwind.kind === 'eh_frame'
    ? [
        [unwind.rva, unwind.size],
        [unwind.headerRva, 4],
      ]
    : [[unwind.rva, unwind.count * RUNTIME_FUNCTION_LEAST]]
