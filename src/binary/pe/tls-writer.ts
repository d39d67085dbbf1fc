/** Writes the TLS directory of an image (PE format, "The .tls Section"): from where a loader copies each thread's block, and where it leaves the module's number. */
import { HotpatchError } from '../../errors.ts'
import { ImageTlsDirectory64 } from './definitions.ts'

/** RVAs and bytes. */
export interface NewTls {
  readonly imageBase: bigint
  /** Of the initial values. */
  readonly start: number
  readonly size: number
  /** A power of two, at most 8192. */
  readonly alignment: number
  /** Of the 4 bytes for the module's number. */
  readonly index: number
}

/** Bytes of a module's number. */
export const TLS_INDEX_SIZE = 4

/** IMAGE_SCN_ALIGN_1BYTES is 1 there, each further power of two one more. */
const ALIGN_SHIFT = 20
const MOST_ALIGNED = 8192

/** Without callbacks, and without zeros that have no bytes in the image. Throws DEFECT for an alignment that it cannot say. */
export function encodeTlsDirectory({ imageBase, start, size, alignment, index }: NewTls): Uint8Array {
  const exponent = Math.log2(alignment)
  if (!Number.isInteger(exponent) || exponent < 0 || alignment > MOST_ALIGNED)
    throw new HotpatchError('DEFECT', `a TLS directory cannot say an alignment of ${alignment} bytes`)
  const address = (rva: number): bigint => imageBase + BigInt(rva)
  return ImageTlsDirectory64.encode({
    StartAddressOfRawData: address(start),
    EndAddressOfRawData: address(start + size),
    AddressOfIndex: address(index),
    AddressOfCallBacks: 0n,
    SizeOfZeroFill: 0,
    Characteristics: (exponent + 1) << ALIGN_SHIFT,
  })
}

/** RVAs of what in a directory at `rva` gets the load address added. */
export const tlsAddresses = (rva: number): number[] => {
  const { StartAddressOfRawData, EndAddressOfRawData, AddressOfIndex } = ImageTlsDirectory64.offsets
  return [StartAddressOfRawData, EndAddressOfRawData, AddressOfIndex].map((offset) => rva + offset)
}
