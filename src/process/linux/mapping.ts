/**
 * Mapping a patch image: the target makes a file in memory (memfd) and maps it, its content is written from outside.
 * Nothing is ever writable and executable: the executable pages are private pages of a sealed file that the target itself never
 * wrote to. The file's name is what memory maps, profilers and crash dumps show.
 */
import { closeSync, ftruncateSync, writeSync } from 'node:fs'
import { HotpatchError } from '../../errors.ts'
import { ERRNO, F, F_SEAL, MAP, MFD, PROT } from '../../os/linux/definitions.ts'
import { errnoName, libc } from '../../os/linux/libc.ts'
import type { Protection } from '../../patch/image.ts'
import type { MapRequest, MapSegment } from '../contract.ts'
import type { Target } from './borrow.ts'
import { OUR_MAPPING } from './modules.ts'
import { inProcessFolder, numbersIn, openInProcess, readProcLink } from './proc.ts'
import { RemoteSyscalls } from './remote-syscall.ts'

const PAGE = 0x1000
const PROTECTIONS: Readonly<Record<Protection, number>> = {
  r: PROT.READ,
  rw: PROT.READ | PROT.WRITE,
  rx: PROT.READ | PROT.EXEC,
}
const FLAGS = MAP.PRIVATE | MAP.FIXED_NOREPLACE
/** The kernel's limit for a memfd's name, bytes. */
const LONGEST_NAME = 249
const hex = (address: bigint): string => `0x${address.toString(16)}`

/** `Process.map`. */
export function mapInto(target: Target, request: MapRequest): void {
  const size = checkRequest(request)
  const end = request.address + BigInt(size)
  const taken = target.maps().find((mapping) => mapping.start < end && mapping.end > request.address)
  if (taken !== undefined) throw placeTaken(request.address, size, taken.name)
  const syscalls = new RemoteSyscalls(target)
  const mapped: MapSegment[] = []
  let fd: bigint | undefined
  try {
    requireAll(syscalls, request, size)
    for (const leftover of ourFiles(target.pid)) closeInTarget(syscalls, leftover)
    fd = syscalls.call('memfd_create', request.name, BigInt(MFD.CLOEXEC | MFD.ALLOW_SEALING))
    if (fd < 0n) throw refused(target.pid, 'memfd_create', fd)
    // The file is filled while no thread of the target waits for it.
    syscalls.giveBack()
    fillFile(target, fd, request, size)
    for (const segment of request.segments) {
      mapSegment(target.pid, syscalls, request.address, segment, fd)
      mapped.push(segment)
    }
    closeInTarget(syscalls, fd)
    syscalls.giveBack()
  } catch (error) {
    takeBack(syscalls, request.address, mapped, fd)
    throw error
  }
}

/** `Process.unmap`. */
export function unmapFrom(target: Target, address: bigint, size: number): void {
  const end = address + BigInt(size)
  const foreign = target.maps().find((mapping) => mapping.start < end && mapping.end > address && !mapping.path.startsWith(OUR_MAPPING))
  if (foreign !== undefined)
    throw new HotpatchError('DEFECT', `${hex(address)} is to be unmapped, where ${foreign.name || 'other memory'} lies`)
  const syscalls = new RemoteSyscalls(target)
  try {
    const result = syscalls.call('munmap', address, BigInt(size))
    if (result < 0n) throw refused(target.pid, 'munmap', result)
  } finally {
    syscalls.giveBack()
  }
}

/** The size of the whole. Throws DEFECT: what is asked for is the engine's doing. */
function checkRequest(request: MapRequest): number {
  let size = 0
  for (const segment of request.segments) {
    if (segment.offset !== size || segment.size <= 0 || segment.size % PAGE !== 0 || segment.content.length > segment.size)
      throw new HotpatchError('DEFECT', `a segment of ${segment.size} bytes at offset ${segment.offset} of ${request.name}`)
    size += segment.size
  }
  if (size === 0 || request.address % BigInt(PAGE) !== 0n || Buffer.byteLength(request.name) > LONGEST_NAME)
    throw new HotpatchError('DEFECT', `${request.name} cannot be mapped with ${size} bytes at ${hex(request.address)}`)
  return size
}

/** Files that an engine left open in the target when it was killed: only for the time of a `map` is there ever one. */
function ourFiles(pid: number): bigint[] {
  const isOurs = (path: string): boolean => readProcLink(path)?.startsWith(OUR_MAPPING) ?? false
  return inProcessFolder(pid, (folder) => numbersIn(`${folder}/fd`).filter((fd) => isOurs(`${folder}/fd/${fd}`))).map(BigInt)
}

/** Every call that mapping and undoing it need, before the first is made. */
function requireAll(syscalls: RemoteSyscalls, { address, segments }: MapRequest, size: number): void {
  const anyFd = 3n
  for (const segment of segments) {
    const [at, protection, flags] = [address + BigInt(segment.offset), BigInt(PROTECTIONS[segment.protection]), BigInt(FLAGS)]
    syscalls.require('mmap', at, BigInt(segment.size), protection, flags, anyFd, BigInt(segment.offset))
  }
  syscalls.require('munmap', address, BigInt(size))
  syscalls.require('close', anyFd)
}

/** Through the target's own table of open files: the file has no other name. Throws MAPPING_REFUSED, PROCESS_GONE. */
function fillFile(target: Target, fd: bigint, request: MapRequest, size: number): void {
  const file = openFile(target, fd, request.address)
  try {
    ftruncateSync(file, size)
    for (const { offset, content } of request.segments)
      for (let done = 0; done < content.length; ) done += writeSync(file, content, done, content.length - done, offset + done)
    // From now on its bytes are what they are. A kernel that does not know the call leaves them open to whoever may open the file.
    libc.fcntl(file, F.ADD_SEALS, F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE)
  } finally {
    closeSync(file)
  }
}

/** A program that the process has become meanwhile (exec) may have a file of its own under the same number. */
function openFile({ pid, memory }: Target, fd: bigint, anywhere: bigint): number {
  let cause: unknown
  try {
    const file = openInProcess(pid, `fd/${fd}`, 'r+')
    if (readProcLink(`/proc/self/fd/${file}`)?.startsWith(OUR_MAPPING)) return file
    closeSync(file)
  } catch (error) {
    cause = error
  }
  // Throws where that address space is no more.
  memory.tryRead(anywhere, 1)
  throw new HotpatchError('MAPPING_REFUSED', `the file made in process ${pid} cannot be opened from outside`, { cause })
}

function mapSegment(pid: number, syscalls: RemoteSyscalls, base: bigint, segment: MapSegment, fd: bigint): void {
  const address = base + BigInt(segment.offset)
  const protection = BigInt(PROTECTIONS[segment.protection])
  const result = syscalls.call('mmap', address, BigInt(segment.size), protection, BigInt(FLAGS), fd, BigInt(segment.offset))
  if (result === address) return
  if (result === -BigInt(ERRNO.EEXIST)) throw placeTaken(address, segment.size, '')
  if (result < 0n && result > -4096n) throw refused(pid, 'mmap', result)
  // A kernel before 4.17 takes the address for a wish.
  syscalls.call('munmap', result, BigInt(segment.size))
  throw placeTaken(address, segment.size, '')
}

/** Undoes what was done, as far as the target still lives. */
function takeBack(syscalls: RemoteSyscalls, base: bigint, mapped: readonly MapSegment[], fd: bigint | undefined): void {
  try {
    for (const { offset, size } of mapped) syscalls.call('munmap', base + BigInt(offset), BigInt(size))
    if (fd !== undefined && fd >= 0n) closeInTarget(syscalls, fd)
  } catch (error) {
    if (!(error instanceof HotpatchError)) throw error
  } finally {
    syscalls.giveBack()
  }
}

function closeInTarget(syscalls: RemoteSyscalls, fd: bigint): void {
  syscalls.call('close', fd)
}

const placeTaken = (address: bigint, size: number, name: string): HotpatchError =>
  new HotpatchError('PLACE_TAKEN', `${name || 'another mapping'} lies within ${size} bytes at ${hex(address)}`, {
    facts: { address: hex(address), size },
  })

function refused(pid: number, call: string, result: bigint): HotpatchError {
  const reason = errnoName(Number(-result))
  return new HotpatchError('MAPPING_REFUSED', `the system call ${call} failed in process ${pid} with ${reason}`, {
    facts: { call, reason },
  })
}
