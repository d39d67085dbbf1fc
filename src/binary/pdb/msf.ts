/** Multi-stream files: the container of a PDB. Nothing in the file is trusted. */
import { HotpatchError } from '../../errors.ts'
import { slice, viewOf } from '../struct.ts'
import { BLOCK_SIZES, MSF_MAGIC, MsfSuperBlock, NO_STREAM } from './definitions.ts'

export interface Msf {
  readonly streamCount: number
  /** The stream's bytes; undefined: there is none of this number. Throws TRUNCATED. */
  stream(index: number): Uint8Array | undefined
}

export const isMsf = (data: Uint8Array): boolean => data.length >= MSF_MAGIC.length && MSF_MAGIC.every((byte, i) => data[i] === byte)

/** Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readMsf(data: Uint8Array): Msf {
  if (!isMsf(data)) throw new HotpatchError('FORMAT_UNKNOWN', 'the data does not begin as a PDB does (MSF 7.00)')
  const { BlockSize, NumDirectoryBytes, BlockMapAddr } = MsfSuperBlock.readAt(data, 0)
  if (!BLOCK_SIZES.has(BlockSize)) throw new HotpatchError('MALFORMED', `the blocks of the PDB are said to be ${BlockSize} bytes long`)
  if (NumDirectoryBytes > data.length || NumDirectoryBytes < 4)
    throw new HotpatchError('MALFORMED', `the directory of the PDB is said to take ${NumDirectoryBytes} bytes of ${data.length}`)
  const blocksOf = (size: number): number => Math.ceil(size / BlockSize)
  const map = slice(data, BlockMapAddr * BlockSize, blocksOf(NumDirectoryBytes) * 4, 'the block map of the PDB')
  const directory = gather(data, BlockSize, numbers(map), NumDirectoryBytes, 'the directory of the PDB')

  const view = viewOf(directory)
  const streamCount = view.getUint32(0, true)
  if (4 + streamCount * 4 > directory.length)
    throw new HotpatchError('MALFORMED', `the directory of the PDB announces ${streamCount} streams and ends before`)
  const places: { readonly size: number; readonly at: number }[] = []
  let at = 4 + streamCount * 4
  let total = 0
  for (let i = 0; i < streamCount; i++) {
    const given = view.getUint32(4 + i * 4, true)
    const size = given === NO_STREAM ? 0 : given
    places.push({ size, at })
    at += blocksOf(size) * 4
    total += size
  }
  // A block belongs to one stream only: so all of them together are no longer than the file.
  if (at > directory.length || total > data.length)
    throw new HotpatchError('MALFORMED', 'the streams of the PDB are said to be longer than the file')
  return {
    streamCount,
    stream(index) {
      const place = places[index]
      if (place === undefined) return undefined
      const blocks = numbers(directory.subarray(place.at, place.at + blocksOf(place.size) * 4))
      return gather(data, BlockSize, blocks, place.size, `stream ${index} of the PDB`)
    },
  }
}

function numbers(bytes: Uint8Array): number[] {
  const view = viewOf(bytes)
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => view.getUint32(i * 4, true))
}

function gather(data: Uint8Array, blockSize: number, blocks: readonly number[], size: number, what: string): Uint8Array {
  const [first] = blocks
  // Linkers lay most streams out in a row.
  if (first !== undefined && blocks.every((block, i) => block === first + i)) return slice(data, first * blockSize, size, what)
  const stream = new Uint8Array(size)
  for (const [i, block] of blocks.entries()) {
    const length = Math.min(blockSize, size - i * blockSize)
    stream.set(slice(data, block * blockSize, length, what), i * blockSize)
  }
  return stream
}
