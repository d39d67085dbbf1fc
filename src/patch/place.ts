/**
 * A patch image at its place: what its segments hold once it is known where it and its base image lie. Nothing here touches a process;
 * the pointers that INDIRECT records copy are read by the caller's function.
 */
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { withField } from '../machine/arm64/fields.ts'
import { toLocalExec } from '../machine/arm64/thread-local.ts'
import type { EdgeKind } from '../machine/edges.ts'
import type { PatchImage, PatchImport, PatchSegment } from './image.ts'
import type { ChunkType, HotPatchBase, HotPatchRecord } from './table.ts'

export interface Placement {
  /** Where RVA 0 of the patch image will lie. */
  readonly imageAddress: bigint
  /** Where RVA 0 of the base image lies. */
  readonly baseAddress: bigint
  /** Bytes of the process: 8 for every INDIRECT record. What it throws is passed on. */
  readonly read: (address: bigint, length: number) => Uint8Array
  /** Of every import of the image. */
  readonly imports: ReadonlyMap<PatchImport, bigint>
  /** Where threads have what has its initial value at an RVA of the image. */
  readonly threadLocal?: ThreadLocalPlaces
}

export interface ThreadLocalPlaces {
  /** Bytes from the thread pointer; of PE, from the start of the block that it lies in. */
  distance(rva: number): bigint
  /** PE: the number of the module whose block that is. */
  index(rva: number): number
}

/** One past the highest address that user space has. */
const ADDRESS_LIMITS = { x64: 1n << 47n, arm64: 1n << 48n } as const
const PAGE = 0x1000n

/** How far a relative field reaches, and what it counts from: so many bytes behind the field's beginning. */
interface Reach {
  readonly low: bigint
  readonly high: bigint
  readonly from: bigint
}

const GB = 1n << 30n
const REACHES: Readonly<Partial<Record<ChunkType, Reach>>> = {
  REL32: { low: -2n * GB, high: 2n * GB - 1n, from: 4n },
  // Between two pages; the places in them may differ by a page.
  PAGE21: { low: -4n * GB + PAGE, high: 4n * GB - 2n * PAGE, from: 0n },
  BRANCH26: { low: -(1n << 27n), high: (1n << 27n) - 4n, from: 0n },
}

/** An instruction may take its 32-bit field as unsigned or as signed: what is below 2 GB is the same either way. */
const ABSOLUTE32_LIMIT = 1n << 31n

const hex = (value: bigint): string => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`)

const outOfReach = (what: string, facts: Record<string, unknown>): HotpatchError => new HotpatchError('PATCH_OUT_OF_REACH', what, { facts })

/** Where an image may lie at the most for all its addresses, one past its end too, to be such numbers. */
const highestOwn = ({ imageSize }: PatchImage): bigint => ABSOLUTE32_LIMIT - BigInt(imageSize) - PAGE

/** What a record's field holds, once everything has its place. */
type Value = (record: HotPatchRecord, placement: Placement) => Omit<Write, 'rva'>

const VALUES: Readonly<Partial<Record<ChunkType, Value>>> = {
  ABSOLUTE: ({ target }, { baseAddress }) => ({ width: 8, value: baseAddress + BigInt(target) }),
  ABSOLUTE32: ({ source, target }, { baseAddress }) => ({ width: 4, value: absolute32(baseAddress, source, target) }),
  OWN_ABSOLUTE32: ({ source, target }, { imageAddress }) => ({ width: 4, value: absolute32(imageAddress, source, target) }),
  REL32: (record, placement) => ({ width: 4, value: distance('REL32', record, placement) }),
  PAGE21: (record, placement) => inInstruction('PAGE21', 'page21', record, placement),
  BRANCH26: (record, placement) => inInstruction('BRANCH26', 'branch26', record, placement),
  OWN_THREAD32: ({ target }, placement) => ({ width: 4, value: distance32(threadDistance(target, placement)) }),
  OWN_THREAD_HIGH12: (record, placement) => inAddition('tprelhi12', record, placement),
  OWN_THREAD_LOW12: (record, placement) => inAddition('tprello12', record, placement),
  OWN_THREAD_INDEX: ({ target }, placement) => ({ width: 4, value: BigInt(threadPlaces(placement).index(target)) }),
  INDIRECT: ({ target }, { baseAddress, read }) => {
    const pointer = read(baseAddress + BigInt(target), 8)
    return { width: 8, value: viewOf(pointer).getBigUint64(0, true) }
  },
}

/** Throws PATCH_OUT_OF_REACH. */
function distance(type: ChunkType, { source, target }: HotPatchRecord, { imageAddress, baseAddress }: Placement): bigint {
  const { low, high, from } = REACHES[type] as Reach
  const value = baseAddress + BigInt(target) - (imageAddress + BigInt(source) + from)
  if (value < low || value > high)
    throw outOfReach(`the reference at RVA 0x${source.toString(16)} is ${hex(value)} bytes away from what it refers to in the base image`, {
      imageAddress: hex(imageAddress),
      baseAddress: hex(baseAddress),
    })
  return value
}

function inInstruction(type: ChunkType, field: EdgeKind, record: HotPatchRecord, placement: Placement): Omit<Write, 'rva'> {
  const to = distance(type, record, placement)
  // Counted from the page that the instruction lies in: numbers that small are exact.
  const place = record.source % Number(PAGE)
  return { width: 4, value: 0n, field: { kind: field, target: Number(to) + place, place } }
}

function threadPlaces({ threadLocal }: Placement): ThreadLocalPlaces {
  if (threadLocal === undefined) throw new HotpatchError('DEFECT', 'nobody knows where the thread-local variables lie')
  return threadLocal
}

const threadDistance = (target: number, placement: Placement): bigint => threadPlaces(placement).distance(target)

function distance32(value: bigint): bigint {
  if (BigInt.asIntN(32, value) !== value) throw outOfReach(`a thread-local variable lies ${value} bytes from where its thread's begin`, {})
  return value
}

/** Where the variable lies only the process tells: what does not fit is refused then. */
function inAddition(kind: EdgeKind, { target }: HotPatchRecord, placement: Placement): Omit<Write, 'rva'> {
  const value = threadDistance(target, placement)
  const into: Write['into'] = (content, at) => {
    if (!toLocalExec(kind, content, at, Number(value)))
      throw outOfReach(`a thread-local variable lies ${value} bytes from where its thread's begin`, {})
  }
  return { width: 4, value: 0n, into }
}

function absolute32(address: bigint, source: number, target: number): bigint {
  const value = address + BigInt(target)
  if (value >= ABSOLUTE32_LIMIT)
    throw outOfReach(
      `the 32-bit address at RVA 0x${source.toString(16)} cannot hold ${hex(value)}: what it refers to must lie below 2 GB`,
      {
        address: hex(address),
      },
    )
  return value
}

/** The inverse records that write something, those of unsupported types aside (see validateHotPatchTable). */
function* references(entry: HotPatchBase): Generator<{ readonly record: HotPatchRecord; readonly type: ChunkType; readonly value: Value }> {
  for (const { type, inverse, records } of entry.chunks) {
    const value = VALUES[type]
    if (inverse && value !== undefined) for (const record of records) yield { record, type, value }
  }
}

/**
 * The segments with their final bytes: relocated to the image's address, and with everything that `entry`, the table's entry for the
 * base image, has written into them. The table must have been validated. Throws PATCH_OUT_OF_REACH.
 */
export function placeImage(image: PatchImage, entry: HotPatchBase, placement: Placement): PatchSegment[] {
  const writes: Write[] = image.relativeRelocations.map(({ rva, addend }) => ({ rva, width: 8, value: placement.imageAddress + addend }))
  for (const imported of image.imports) writes.push({ rva: imported.rva, width: 8, value: addressOf(imported, placement) })
  for (const { rva, target } of image.threadLocal?.distances ?? []) writes.push({ rva, width: 8, value: threadDistance(target, placement) })
  for (const { record, value } of references(entry)) writes.push({ rva: record.source, ...value(record, placement) })
  writes.sort((a, b) => a.rva - b.rva)

  let next = 0
  const placed = image.segments.map((segment) => {
    const first = next
    while (next < writes.length && (writes[next] as Write).rva < segment.rva + segment.size) next++
    return writeInto(segment, writes.slice(first, next))
  })
  if (next < writes.length) throw outside(writes[next] as Write)
  return placed
}

function addressOf(imported: PatchImport, { imports }: Placement): bigint {
  const address = imports.get(imported)
  if (address === undefined) throw new HotpatchError('DEFECT', `the address of ${imported.name} is not known`)
  return address
}

interface Write {
  readonly rva: number
  readonly width: 4 | 8
  readonly value: bigint
  /** Some bits of an instruction: what they refer to, and from where; addresses count from a page. */
  readonly field?: { readonly kind: EdgeKind; readonly target: number; readonly place: number }
  /** Others: writes them itself. */
  readonly into?: (content: Uint8Array, at: number) => void
}

const outside = ({ rva }: Write): HotpatchError =>
  new HotpatchError('PATCH_RECORD_INVALID', `RVA 0x${rva.toString(16)} is outside of the patch image's segments`)

/** @param writes by ascending RVA, none of them behind the segment */
function writeInto(segment: PatchSegment, writes: readonly Write[]): PatchSegment {
  const last = writes.at(-1)
  if (last === undefined) return segment
  const end = last.rva + last.width - segment.rva
  if ((writes[0] as Write).rva < segment.rva) throw outside(writes[0] as Write)
  if (end > segment.size) throw outside(last)
  // A slot may lie behind the file's bytes, where the segment is zero.
  const content = new Uint8Array(Math.max(segment.content.length, end))
  content.set(segment.content)
  const view = viewOf(content)
  for (const { rva, width, value, field, into } of writes) {
    const at = rva - segment.rva
    if (into !== undefined) into(content, at)
    else if (field !== undefined) view.setUint32(at, withField(field.kind, view.getUint32(at, true), field.target, field.place), true)
    else if (width === 8) view.setBigUint64(rva - segment.rva, BigInt.asUintN(64, value), true)
    else view.setUint32(rva - segment.rva, Number(BigInt.asUintN(32, value)), true)
  }
  return { ...segment, content }
}

/**
 * Where the patch image may lie so that all its references reach a base image at `baseAddress`: anywhere inside [low, high), whole. By
 * the records' real extents, so it is never less than what is possible. Throws PATCH_OUT_OF_REACH where there is no such place.
 */
export function reachOf(image: PatchImage, entry: HotPatchBase, baseAddress: bigint): { readonly low: bigint; readonly high: bigint } {
  let lowest = 0n
  let highest = ADDRESS_LIMITS[image.machine] - BigInt(image.imageSize)
  for (const { record, type } of references(entry)) {
    if (type === 'ABSOLUTE32') absolute32(baseAddress, record.source, record.target)
    if (type === 'OWN_ABSOLUTE32' && highest > highestOwn(image)) highest = highestOwn(image)
    const reach = REACHES[type]
    if (reach === undefined) continue
    // Were the image at 0, the field would hold this; every byte that it lies higher makes it one less.
    const atZero = baseAddress + BigInt(record.target) - BigInt(record.source) - reach.from
    if (atZero - reach.high > lowest) lowest = atZero - reach.high
    if (atZero - reach.low < highest) highest = atZero - reach.low
  }
  const low = ((lowest + PAGE - 1n) / PAGE) * PAGE
  const high = highest < 0n ? 0n : (highest / PAGE) * PAGE + BigInt(image.imageSize)
  if (low + BigInt(image.imageSize) > high)
    throw outOfReach(`no place for the patch image reaches all that it refers to in a base image at ${hex(baseAddress)}`, {
      baseAddress: hex(baseAddress),
    })
  return { low, high }
}
