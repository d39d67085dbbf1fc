/** OptionalHeader.CheckSum as ImageHlp's CheckSumMappedFile computes it. */
import { viewOf } from '../struct.ts'

/**
 * The 16-bit words of the file added with end-around carry, the checksum's own field left out, plus the file's length.
 * `fieldOffset`: file offset of CheckSum (even, as all headers are).
 */
export function peChecksum(file: Uint8Array, fieldOffset: number): number {
  const view = viewOf(file)
  let sum = 0
  // Carries may wait: a double holds the sum of 2^37 words exactly.
  for (let at = 0; at + 2 <= file.length; at += 2) if (at !== fieldOffset && at !== fieldOffset + 2) sum += view.getUint16(at, true)
  if (file.length % 2 === 1) sum += file[file.length - 1] as number
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000)
  return (sum + file.length) >>> 0
}
