/** The .xz file format (tukaani.org/xz/xz-file-format.txt, 1.2.1) and the chunks of LZMA2 in it. */

export const XZ_MAGIC: Uint8Array = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)
export const XZ_FOOTER_MAGIC: Uint8Array = Uint8Array.of(0x59, 0x5a)

/** Magic, two bytes of flags, their CRC-32. */
export const STREAM_HEADER_SIZE = 12

/** Bytes of the check behind each block, by its id in the stream's flags. */
export const CHECK_SIZES: readonly number[] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]
export const CHECK = { NONE: 0, CRC32: 1, CRC64: 4, SHA256: 10 } as const

/** In a block's flags: the number of filters less one, which sizes are given, what must be zero. */
export const BLOCK = { FILTERS: 0x03, RESERVED: 0x3c, COMPRESSED_SIZE: 0x40, UNCOMPRESSED_SIZE: 0x80 } as const

export const FILTER_LZMA2 = 0x21

/** Control bytes of LZMA2's chunks. From `LZMA` on, two bits say what is reset, five are the high bits of the size. */
export const CHUNK = { END: 0, STORED_NEW_DICTIONARY: 1, STORED: 2, LZMA: 0x80 } as const
export const RESET = { STATE: 1, PROPERTIES: 2, DICTIONARY: 3 } as const
