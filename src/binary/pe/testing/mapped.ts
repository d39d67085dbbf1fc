/** An image file as the loader maps it, for tests: RVA = offset, no relocation applied. */
import { type PeImage, readPe, readPeFromMemory } from '../reader.ts'

export function mapped(file: Uint8Array): Uint8Array {
  const image = readPe(file)
  const memory = new Uint8Array(Math.ceil(image.optionalHeader.SizeOfImage / 0x1000) * 0x1000)
  memory.set(file.subarray(0, image.optionalHeader.SizeOfHeaders))
  for (const section of image.sections) memory.set(file.subarray(section.fileOffset, section.fileOffset + section.fileSize), section.rva)
  return memory
}

export function readMapped(memory: Uint8Array): PeImage {
  return readPeFromMemory((rva, length) => {
    if (rva < 0 || rva + length > memory.length) throw new Error(`unmapped: ${rva}`)
    return memory.slice(rva, rva + length)
  })
}
