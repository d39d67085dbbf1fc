/** Reads a hot patch table. Nothing in it is trusted: every offset is inside Size, no two parts share a byte. */
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import {
  type BaseFields,
  IMAGE_HOT_PATCH_CHUNK_INVERSE,
  IMAGE_HOT_PATCH_CHUNK_OBLIGATORY,
  IMAGE_HOT_PATCH_CHUNK_RESERVED,
  IMAGE_HOT_PATCH_CHUNK_SIZE,
  IMAGE_HOT_PATCH_CHUNK_TYPE,
  IMAGE_HOT_PATCH_HASHES,
  RECORD_WORDS,
  VERSIONS,
} from './definitions.ts'
import { CHUNK_TYPES, type ChunkType, type HotPatchBase, type HotPatchChunk, type HotPatchRecord, type HotPatchTable } from './table.ts'

const TYPE_NAMES: ReadonlyMap<number, ChunkType> = new Map(Object.entries(CHUNK_TYPES).map(([name, bits]) => [bits, name as ChunkType]))

const malformed = (what: string): HotpatchError => new HotpatchError('PATCH_TABLE_MALFORMED', what)

/**
 * The table that begins at the start of `bytes`; what is behind its Size is not looked at. That the table is well-formed is all that this
 * says; whether it may be applied is validateHotPatchTable's. Throws PATCH_TABLE_MALFORMED.
 */
export function decodeHotPatchTable(bytes: Uint8Array): HotPatchTable {
  const version = bytes.length < 4 ? 0 : viewOf(bytes).getUint32(0, true)
  const layout = VERSIONS[version]
  if (bytes.length < 4) throw malformed(`there are ${bytes.length} bytes where the hot patch table must begin`)
  if (layout === undefined) throw malformed(`the hot patch table says that it is of version ${version}, there are 1 to 4`)
  if (bytes.length < layout.info.size)
    throw malformed(`there are ${bytes.length} bytes where the header of the hot patch table needs ${layout.info.size}`)
  const info = layout.info.readAt(bytes, 0)
  if (info.Size < layout.info.size || info.Size > bytes.length)
    throw malformed(`the hot patch table says that it has ${info.Size} bytes, of ${bytes.length} that there are`)

  const parts = new Parts(bytes.subarray(0, info.Size))
  parts.take(0, layout.info.size, 'the header')
  const list = parts.take(info.BaseImageList, 4 * info.BaseImageCount, 'the list of base images')
  const extraPatchSize = info.ExtraPatchSize ?? 0
  const bases: HotPatchBase[] = []
  for (let i = 0; i < info.BaseImageCount; i++) {
    const at = list.getUint32(4 * i, true)
    const base = layout.base.read(parts.take(at, layout.base.size, `base image ${i}`), 0)
    bases.push({
      sequenceNumber: base.SequenceNumber,
      flags: base.Flags,
      originalTimeDateStamp: base.OriginalTimeDateStamp,
      originalCheckSum: base.OriginalCheckSum,
      hashes: readHashes(parts, base, i),
      bufferOffset: base.BufferOffset ?? 0,
      chunks: readChunks(parts, base.PatchTable, extraPatchSize, i),
    })
  }
  return {
    version,
    sequenceNumber: info.SequenceNumber,
    bufferOffset: info.BufferOffset ?? 0,
    extraPatchSize,
    minSequenceNumber: info.MinSequenceNumber ?? 0,
    flags: info.Flags ?? 0,
    bases,
  }
}

/** The table's bytes, each of which belongs to one part: so no part is read twice, and what is read is bounded by what there is. */
class Parts {
  readonly #bytes: Uint8Array
  /** One bit for every u32: all parts are made of those. */
  readonly #taken: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#taken = new Uint8Array(Math.ceil(bytes.length / 4))
  }

  take(at: number, length: number, what: string): DataView {
    const size = this.#bytes.length
    if (at % 4 !== 0) throw malformed(`${what}: offset ${at} is no multiple of 4`)
    if (at + length > size) throw malformed(`${what}: no room for ${length} bytes at offset ${at} of ${size}`)
    const from = at / 4
    const to = from + length / 4
    const clash = this.#taken.subarray(from, to).indexOf(1)
    if (clash >= 0) throw malformed(`${what}: the bytes at offset ${4 * (from + clash)} belong to another part`)
    this.#taken.fill(1, from, to)
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, length)
  }
}

function readHashes(parts: Parts, base: BaseFields, index: number): HotPatchBase['hashes'] {
  if (base.CodeIntegrityInfo === 0 && base.CodeIntegritySize === 0) return undefined
  if (base.CodeIntegritySize !== IMAGE_HOT_PATCH_HASHES.size)
    throw malformed(`the hashes of base image ${index} take ${base.CodeIntegritySize} bytes, they must take ${IMAGE_HOT_PATCH_HASHES.size}`)
  const view = parts.take(base.CodeIntegrityInfo, IMAGE_HOT_PATCH_HASHES.size, `the hashes of base image ${index}`)
  const { SHA256, SHA1 } = IMAGE_HOT_PATCH_HASHES.read(view, 0)
  return { sha256: SHA256, sha1: SHA1 }
}

function readChunks(parts: Parts, patchTable: number, extraPatchSize: number, base: number): HotPatchChunk[] {
  const chunks: HotPatchChunk[] = []
  for (let at = patchTable; ; ) {
    const what = `chunk ${chunks.length} of base image ${base}`
    const header = parts.take(at, 4, what).getUint32(0, true)
    at += 4
    if (header === 0) return chunks
    const reserved = header & IMAGE_HOT_PATCH_CHUNK_RESERVED
    if (reserved !== 0) throw malformed(`${what} has reserved bits 0x${reserved.toString(16)} set`)
    const type = TYPE_NAMES.get(header & IMAGE_HOT_PATCH_CHUNK_TYPE)
    if (type === undefined) throw malformed(`${what} is of type 0x${(header & IMAGE_HOT_PATCH_CHUNK_TYPE).toString(16)}, which is none`)
    const count = header & IMAGE_HOT_PATCH_CHUNK_SIZE
    if (count === 0) throw malformed(`${what} has no records`)
    const stride = 4 * (RECORD_WORDS + extraPatchSize)
    const records = parts.take(at, stride * count, `the records of ${what}`)
    chunks.push({
      type,
      inverse: (header & IMAGE_HOT_PATCH_CHUNK_INVERSE) !== 0,
      obligatory: (header & IMAGE_HOT_PATCH_CHUNK_OBLIGATORY) !== 0,
      records: Array.from({ length: count }, (_, i) => readRecord(records, i * stride, extraPatchSize)),
    })
    at += stride * count
  }
}

const readRecord = (view: DataView, at: number, extraPatchSize: number): HotPatchRecord => ({
  source: view.getUint32(at, true),
  target: view.getUint32(at + 4, true),
  extras: Array.from({ length: extraPatchSize }, (_, i) => view.getUint32(at + 4 * (RECORD_WORDS + i), true)),
})
