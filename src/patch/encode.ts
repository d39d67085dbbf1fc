/** Writes a hot patch table: header, base list, bases, hashes, chunk streams, in this order and without gaps. */
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import {
  IMAGE_HOT_PATCH_BASE_CAN_ROLL_BACK,
  IMAGE_HOT_PATCH_BASE_MACHINE_SHIFT,
  IMAGE_HOT_PATCH_BASE_OBLIGATORY,
  IMAGE_HOT_PATCH_CHUNK_INVERSE,
  IMAGE_HOT_PATCH_CHUNK_OBLIGATORY,
  IMAGE_HOT_PATCH_CHUNK_SIZE,
  IMAGE_HOT_PATCH_HASHES,
  IMAGE_HOT_PATCH_MACHINE,
  VERSIONS,
} from './definitions.ts'
import { CHUNK_TYPES, type HotPatchBase, type HotPatchChunk, type HotPatchTable } from './table.ts'

const MACHINE_BITS = { x64: IMAGE_HOT_PATCH_MACHINE.Amd64, arm64: IMAGE_HOT_PATCH_MACHINE.Arm64 } as const

/** HotPatchBase.flags for a patch image of `machine`. */
export function hotPatchBaseFlags(facts: { machine: 'x64' | 'arm64'; obligatory: boolean; canRollBack: boolean }): number {
  return (
    (facts.obligatory ? IMAGE_HOT_PATCH_BASE_OBLIGATORY : 0) |
    (facts.canRollBack ? IMAGE_HOT_PATCH_BASE_CAN_ROLL_BACK : 0) |
    (MACHINE_BITS[facts.machine] << IMAGE_HOT_PATCH_BASE_MACHINE_SHIFT)
  )
}

/**
 * The table's bytes; their length is IMAGE_HOT_PATCH_INFO.Size. The same table gives the same bytes. A chunk of more than 4095
 * records becomes several, one without records none. Throws DEFECT for a table that its version cannot express.
 */
export function encodeHotPatchTable(table: HotPatchTable): Uint8Array {
  const layout = VERSIONS[table.version]
  if (layout === undefined) throw new HotpatchError('DEFECT', `there is no hot patch table of version ${table.version}`)
  requireExpressible(table)

  const listAt = layout.info.size
  const basesAt = listAt + 4 * table.bases.length
  let end = basesAt + layout.base.size * table.bases.length
  const hashesAt = table.bases.map((base) => {
    if (base.hashes === undefined) return 0
    const at = end
    end += IMAGE_HOT_PATCH_HASHES.size
    return at
  })
  const streams = table.bases.map((base) => chunkStream(base))
  const streamsAt = streams.map((stream) => {
    const at = end
    end += 4 * stream.length
    return at
  })

  const out = new Uint8Array(end)
  const view = viewOf(out)
  layout.info.write(view, 0, {
    Version: table.version,
    Size: end,
    SequenceNumber: table.sequenceNumber,
    BaseImageList: listAt,
    BaseImageCount: table.bases.length,
    BufferOffset: table.bufferOffset,
    ExtraPatchSize: table.extraPatchSize,
    MinSequenceNumber: table.minSequenceNumber,
    Flags: table.flags,
  })
  table.bases.forEach((base, i) => {
    const at = basesAt + i * layout.base.size
    view.setUint32(listAt + 4 * i, at, true)
    layout.base.write(view, at, {
      SequenceNumber: base.sequenceNumber,
      Flags: base.flags,
      OriginalTimeDateStamp: base.originalTimeDateStamp,
      OriginalCheckSum: base.originalCheckSum,
      CodeIntegrityInfo: hashesAt[i] as number,
      CodeIntegritySize: base.hashes === undefined ? 0 : IMAGE_HOT_PATCH_HASHES.size,
      PatchTable: streamsAt[i] as number,
      BufferOffset: base.bufferOffset,
    })
    if (base.hashes !== undefined)
      IMAGE_HOT_PATCH_HASHES.write(view, hashesAt[i] as number, { SHA256: base.hashes.sha256, SHA1: base.hashes.sha1 })
    const stream = streams[i] as number[]
    stream.forEach((word, n) => {
      view.setUint32((streamsAt[i] as number) + 4 * n, word, true)
    })
  })
  return out
}

/** A field that the version lacks must hold its neutral value: a table never loses something by being written. */
function requireExpressible(table: HotPatchTable): void {
  const refuse = (what: string): never => {
    throw new HotpatchError('DEFECT', `a hot patch table of version ${table.version} cannot hold ${what}`)
  }
  if (table.version < 2 && (table.bufferOffset !== 0 || table.bases.some((base) => base.bufferOffset !== 0))) refuse('a buffer offset')
  if (table.version < 3 && table.extraPatchSize !== 0) refuse('extras in its records')
  if (table.version < 4 && (table.minSequenceNumber !== 0 || table.flags !== 0)) refuse('flags or a lowest sequence number')
  for (const record of table.bases.flatMap((base) => base.chunks).flatMap((chunk) => chunk.records)) {
    if (record.extras.length !== table.extraPatchSize)
      refuse(`a record with ${record.extras.length} extras where the table says ${table.extraPatchSize}`)
  }
}

/** The chunks of a base as u32s, the ending 0 included. */
function chunkStream(base: HotPatchBase): number[] {
  const words: number[] = []
  for (const chunk of base.chunks) {
    for (let from = 0; from < chunk.records.length; from += IMAGE_HOT_PATCH_CHUNK_SIZE) {
      const records = chunk.records.slice(from, from + IMAGE_HOT_PATCH_CHUNK_SIZE)
      words.push(chunkHeader(chunk, records.length))
      for (const record of records) words.push(record.source, record.target, ...record.extras)
    }
  }
  words.push(0)
  return words
}

function chunkHeader(chunk: HotPatchChunk, count: number): number {
  const inverse = chunk.inverse ? IMAGE_HOT_PATCH_CHUNK_INVERSE : 0
  const obligatory = chunk.obligatory ? IMAGE_HOT_PATCH_CHUNK_OBLIGATORY : 0
  return (inverse | obligatory | CHUNK_TYPES[chunk.type] | count) >>> 0
}
