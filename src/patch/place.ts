/**
 * A patch image at its place: what its segments hold once it is known where it and its base image lie. Nothing here touches a process;
 * the pointers that INDIRECT records copy are read by the caller's function.
 */
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import type { PatchImage, PatchSegment } from './image.ts'
import type { ChunkType, HotPatchBase, HotPatchRecord } from './table.ts'

export interface Placement {
  /** Where RVA 0 of the patch image will lie. */
  readonly imageAddress: bigint
  /** Where RVA 0 of the base image lies. */
  readonly baseAddress: bigint
  /** Bytes of the process: 8 for every INDIRECT record. What it throws is passed on. */
  readonly read: (address: bigint, length: number) => Uint8Array
}

/** The highest address that user space has on x64 (47 bits) and on ARM64 (48) is above it. */
const ADDRESS_LIMIT = 1n << 47n
const PAGE = 0x1000n
const REL32_LOW = -(1n << 31n)
const REL32_HIGH = (1n << 31n) - 1n
/** An instruction may take its 32-bit field as unsigned or as signed: what is below 2 GB is the same either way. */
const ABSOLUTE32_LIMIT = 1n << 31n

const hex = (value: bigint): string => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`)

const outOfReach = (what: string, facts: Record<string, unknown>): HotpatchError => new HotpatchError('PATCH_OUT_OF_REACH', what, { facts })

/** Where an image may lie at the most for all its addresses, one past its end too, to be such numbers. */
const highestOwn = ({ imageSize }: PatchImage): bigint => ABSOLUTE32_LIMIT - BigInt(imageSize) - PAGE

/** What a record's field holds, once everything has its place. */
type Value = (record: HotPatchRecord, placement: Placement) => { readonly width: 4 | 8; readonly value: bigint }

const VALUES: Readonly<Partial<Record<ChunkType, Value>>> = {
  ABSOLUTE: ({ target }, { baseAddress }) => ({ width: 8, value: baseAddress + BigInt(target) }),
  ABSOLUTE32: ({ source, target }, { baseAddress }) => ({ width: 4, value: absolute32(baseAddress, source, target) }),
  OWN_ABSOLUTE32: ({ source, target }, { imageAddress }) => ({ width: 4, value: absolute32(imageAddress, source, target) }),
  REL32: ({ source, target }, { baseAddress, imageAddress }) => {
    const value = baseAddress + BigInt(target) - (imageAddress + BigInt(source) + 4n)
    if (value < REL32_LOW || value > REL32_HIGH)
      throw outOfReach(
        `the reference at RVA 0x${source.toString(16)} is ${hex(value)} bytes away from what it refers to in the base image`,
        {
          imageAddress: hex(imageAddress),
          baseAddress: hex(baseAddress),
        },
      )
    return { width: 4, value }
  },
  INDIRECT: ({ target }, { baseAddress, read }) => {
    const pointer = read(baseAddress + BigInt(target), 8)
    return { width: 8, value: viewOf(pointer).getBigUint64(0, true) }
  },
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

interface Write {
  readonly rva: number
  readonly width: 4 | 8
  readonly value: bigint
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
  for (const { rva, width, value } of writes) {
    if (width === 8) view.setBigUint64(rva - segment.rva, BigInt.asUintN(64, value), true)
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
  let highest = ADDRESS_LIMIT - BigInt(image.imageSize)
  for (const { record, type } of references(entry)) {
    if (type === 'ABSOLUTE32') absolute32(baseAddress, record.source, record.target)
    if (type === 'OWN_ABSOLUTE32' && highest > highestOwn(image)) highest = highestOwn(image)
    if (type !== 'REL32') continue
    // Were the image at 0, the field would hold this; every byte that it lies higher makes it one less.
    const atZero = baseAddress + BigInt(record.target) - BigInt(record.source) - 4n
    if (atZero - REL32_HIGH > lowest) lowest = atZero - REL32_HIGH
    if (atZero - REL32_LOW < highest) highest = atZero - REL32_LOW
  }
  const low = ((lowest + PAGE - 1n) / PAGE) * PAGE
  const high = highest < 0n ? 0n : (highest / PAGE) * PAGE + BigInt(image.imageSize)
  if (low + BigInt(image.imageSize) > high)
    throw outOfReach(`no place for the patch image reaches all that it refers to in a base image at ${hex(baseAddress)}`, {
      baseAddress: hex(baseAddress),
    })
  return { low, high }
}
