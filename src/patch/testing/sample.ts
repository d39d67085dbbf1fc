/** A patch image made by hand, for tests: headers, code, slots and data at RVAs 0, 0x1000, 0x2000 and 0x3000. */
import { hotPatchBaseFlags } from '../encode.ts'
import type { PatchImage, PatchSegment } from '../image.ts'
import type { Manifest } from '../manifest.ts'
import type { ChunkType, HotPatchBase, HotPatchChunk, HotPatchTable } from '../table.ts'

export const BASE_IMAGE_SIZE = 0x10000

const SEGMENTS: readonly PatchSegment[] = [
  { rva: 0, size: 0x1000, protection: 'r', content: new Uint8Array(0x100).fill(0x11) },
  { rva: 0x1000, size: 0x1000, protection: 'rx', content: new Uint8Array(0x80).fill(0x90) },
  { rva: 0x2000, size: 0x1000, protection: 'r', content: new Uint8Array(0x40) },
  // Much of it is zero and not in the file.
  { rva: 0x3000, size: 0x2000, protection: 'rw', content: new Uint8Array(0x10).fill(0x22) },
]

export const FUNCTION: HotPatchChunk = {
  type: 'FUNCTION',
  inverse: false,
  obligatory: true,
  records: [{ source: 0x4000, target: 0x1000, extras: [0xe5894855] }],
}

/** An inverse chunk of [source, target] pairs. */
export const inverse = (type: ChunkType, ...pairs: readonly (readonly [number, number])[]): HotPatchChunk => ({
  type,
  inverse: true,
  obligatory: true,
  records: pairs.map(([source, target]) => ({ source, target, extras: [0] })),
})

export function sampleBase(...chunks: readonly HotPatchChunk[]): HotPatchBase {
  return {
    sequenceNumber: 1,
    flags: hotPatchBaseFlags({ machine: 'x64', obligatory: false, canRollBack: true }),
    originalTimeDateStamp: 0x01020304,
    originalCheckSum: 0x05060708,
    hashes: undefined,
    bufferOffset: 0,
    chunks,
  }
}

export const sampleTable = (...bases: readonly HotPatchBase[]): HotPatchTable => ({
  version: 4,
  sequenceNumber: 1,
  bufferOffset: 0,
  extraPatchSize: 1,
  minSequenceNumber: 0,
  flags: 0,
  bases,
})

const MANIFEST: Manifest = {
  format: 1,
  id: 'sample',
  description: '',
  cves: [],
  sequence: 1,
  tool: 'test',
  base: { name: 'server', textSha256: '04030201080706050000000000000000'.padEnd(64, '0'), imageSize: BASE_IMAGE_SIZE },
  functions: [{ name: 'f', file: 'f.c', rva: 0x4000, size: 32, patchRva: 0x1000, patchSize: 40, redirect: 'padding' }],
  added: [],
  imports: [],
}

export const samplePatch = (...chunks: readonly HotPatchChunk[]): PatchImage => ({
  format: 'elf',
  machine: 'x64',
  imageSize: 0x5000,
  segments: SEGMENTS,
  table: sampleTable(sampleBase(FUNCTION, ...chunks)),
  manifest: MANIFEST,
  relativeRelocations: [],
  libraries: [],
  imports: [],
  unwind: undefined,
  fileSha256: new Uint8Array(32),
})
