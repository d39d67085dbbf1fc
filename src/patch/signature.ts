/**
 * Where a patch image keeps its signature, and what is signed. The back ends leave room for it in a section that is not mapped (`.hotpatch.signature`,
 * `.hpsig`); in an unsigned image the room is zero. What is signed is the SHA-256 of the whole file with that room, and the check sum of a
 * PE, taken as zero; so an image is the same image before and after it was signed.
 */
import { createHash } from 'node:crypto'
import { isElf, readElf } from '../binary/elf/reader.ts'
import { peChecksum } from '../binary/pe/checksum.ts'
import { ImageDosHeader, ImageOptionalHeader64 } from '../binary/pe/definitions.ts'
import { readPe } from '../binary/pe/reader.ts'
import { bytes, chars, struct, u32, viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { SECTIONS } from './definitions.ts'

/** As long as its field: behind a shorter one there would be bytes that nobody signs and nobody looks at. */
export const SIGNATURE_MAGIC = 'HPSIGNED'
export const SIGNATURE_VERSION = 1
/** Ed25519 (RFC 8032). */
export const SIGNATURE_ED25519 = 1

export const ImageSignature = struct('IMAGE_SIGNATURE', {
  Magic: chars(8),
  Version: u32,
  Algorithm: u32,
  /** SHA-256 of the public key's 32 bytes. */
  KeyId: bytes(32),
  Signature: bytes(64),
  /** 0. */
  Reserved: bytes(16),
})

export interface Signature {
  /** 64 hexadecimal digits. */
  readonly keyId: string
  readonly signature: Uint8Array
}

interface Room {
  /** In the file. undefined: the image was made without room for a signature. */
  readonly offset: number | undefined
  /** File offset of the check sum of a PE. */
  readonly checkSumAt: number | undefined
}

/** Throws PATCH_IMAGE_MALFORMED for room that is none, and what the readers throw. */
function roomIn(file: Uint8Array): Room {
  const { rooms, checkSumAt } = isElf(file) ? elfRooms(file) : peRooms(file)
  const [room] = rooms
  if (room === undefined) return { offset: undefined, checkSumAt }
  if (rooms.length > 1 || room.size !== ImageSignature.size || room.offset + room.size > file.length)
    throw new HotpatchError('PATCH_IMAGE_MALFORMED', `the room for a signature is not one section of ${ImageSignature.size} bytes`)
  return { offset: room.offset, checkSumAt }
}

const elfRooms = (file: Uint8Array) => ({
  rooms: readElf(file)
    .sections.filter(({ name }) => name === SECTIONS.elf.signature)
    .map(({ offset, size }) => ({ offset, size })),
  checkSumAt: undefined,
})

const peRooms = (file: Uint8Array) => ({
  rooms: readPe(file)
    .sections.filter(({ name }) => name === SECTIONS.pe.signature)
    .map(({ fileOffset, size }) => ({ offset: fileOffset, size })),
  checkSumAt: checkSumOffset(file),
})

/** Behind the DOS header's e_lfanew: the signature `PE\0\0` and the file header, 4 and 20 bytes. */
const checkSumOffset = (file: Uint8Array): number => ImageDosHeader.readAt(file, 0).e_lfanew + 24 + ImageOptionalHeader64.offsets.CheckSum

/** SHA-256 of the image, its signature left out. 32 bytes. Throws as roomIn. */
export function imageDigest(file: Uint8Array): Uint8Array {
  const { offset, checkSumAt } = roomIn(file)
  const blank = new Uint8Array(file)
  if (offset !== undefined) blank.fill(0, offset, offset + ImageSignature.size)
  if (checkSumAt !== undefined) blank.fill(0, checkSumAt, checkSumAt + 4)
  return new Uint8Array(createHash('sha256').update(blank).digest())
}

const CONTEXT = new TextEncoder().encode('hotpatch patch image, version 1\n')

/** The bytes that are signed: a context, so that a signature of ours is never one of something else, and the digest. */
export const signedMessage = (file: Uint8Array): Uint8Array => new Uint8Array([...CONTEXT, ...imageDigest(file)])

/** undefined: the image is not signed. Throws SIGNATURE_INVALID for a room that holds something else. */
export function readSignature(file: Uint8Array): Signature | undefined {
  const { offset } = roomIn(file)
  if (offset === undefined) return undefined
  const room = file.subarray(offset, offset + ImageSignature.size)
  if (room.every((byte) => byte === 0)) return undefined
  const { Magic, Version, Algorithm, KeyId, Signature, Reserved } = ImageSignature.readAt(room, 0)
  if (Magic !== SIGNATURE_MAGIC || Version !== SIGNATURE_VERSION || Algorithm !== SIGNATURE_ED25519 || Reserved.some((byte) => byte !== 0))
    throw new HotpatchError('SIGNATURE_INVALID', 'what stands in the place of the signature is none of a known kind')
  return { keyId: Buffer.from(KeyId).toString('hex'), signature: Signature }
}

/** The same image with this signature, whatever it had before. Throws PATCH_IMAGE_MALFORMED where it has no room for one. */
export function withSignature(file: Uint8Array, { keyId, signature }: Signature): Uint8Array {
  const { offset, checkSumAt } = roomIn(file)
  if (offset === undefined) throw new HotpatchError('PATCH_IMAGE_MALFORMED', 'the file has no room for a signature')
  const signed = new Uint8Array(file)
  ImageSignature.write(viewOf(signed), offset, {
    Magic: SIGNATURE_MAGIC,
    Version: SIGNATURE_VERSION,
    Algorithm: SIGNATURE_ED25519,
    KeyId: Uint8Array.from(Buffer.from(keyId, 'hex')),
    Signature: signature,
    Reserved: new Uint8Array(16),
  })
  if (checkSumAt !== undefined) viewOf(signed).setUint32(checkSumAt, peChecksum(signed, checkSumAt), true)
  return signed
}
