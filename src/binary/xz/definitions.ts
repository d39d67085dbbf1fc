/** The .xz file format (tukaani.org/xz/xz-file-format.txt, 1.2.1) and the chunks of LZMA2 in it, as far as they tell sizes. */

export const XZ_MAGIC: Uint8Array = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)

/** Magic, two bytes of flags, their CRC-32. */
export const STREAM_HEADER_SIZE = 12

/** Bytes of the check behind each block, by its id in the stream's flags. */
export const CHECK_SIZES: readonly number[] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]

/** Where a block has this size the index begins. */
export const NO_BLOCK = 0

/** Control bytes of LZMA2's chunks. From `LZMA` on, two bits say what is reset, five are the high bits of the size. */
export const CHUNK = { END: 0, STORED_NEW_DICTIONARY: 1, STORED: 2, LZMA: 0x80 } as const
/** Of what is reset: from this on the chunk brings a byte of properties. */
export const RESET_PROPERTIES = 2
