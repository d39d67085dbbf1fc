/** What makes an image that one and no other, from its file or from a process' memory alike. */
import { createHash } from 'node:crypto'
import { viewOf } from '../struct.ts'
import { Elf64_Ehdr, PF, PT } from './definitions.ts'
import type { DynamicRelocations, ElfDynamic } from './dynamic.ts'
import type { ElfSegment } from './reader.ts'

/** ElfMemoryImage has this shape; of an ElfFile its methods give it. */
export interface IdentifiedImage {
  readonly segments: readonly ElfSegment[]
  readonly buildId: string | undefined
  readonly dynamic: ElfDynamic | undefined
  dynamicRelocations(): DynamicRelocations
}

/** The two words that stand for a PE's time stamp and check sum: the first eight bytes of the build id, of the text hash without one. */
export function identityWords(buildId: string | undefined, textHash: () => Uint8Array): { timeDateStamp: number; checkSum: number } {
  const id = new Uint8Array(8)
  id.set((buildId === undefined ? textHash() : Buffer.from(buildId, 'hex')).subarray(0, 8))
  const view = viewOf(id)
  return { timeDateStamp: view.getUint32(0, true), checkSum: view.getUint32(4, true) }
}

/**
 * SHA-256 over the file-backed bytes of the executable segments, in the order of the program headers. Fields that the loader
 * relocates in text (DT_TEXTREL) count as zero, and so does the ELF header where it is mapped with the text: stripping changes it.
 * Throws TRUNCATED, MALFORMED, and what the process' memory throws.
 */
export function textSha256(image: IdentifiedImage): Uint8Array {
  const hash = createHash('sha256')
  const written = image.dynamic?.textRelocations ? relocatedFields(image.dynamicRelocations()) : []
  for (const segment of image.segments) {
    if (segment.type !== PT.LOAD || !(segment.flags & PF.X)) continue
    const start = Number(segment.vaddr)
    const inside = written.filter((field) => field + FIELD > start && field < start + segment.filesz)
    const headed = segment.offset === 0
    const text = inside.length === 0 && !headed ? segment.data() : segment.data().slice()
    if (headed) text.fill(0, 0, Elf64_Ehdr.size)
    for (const field of inside) text.fill(0, Math.max(0, field - start), field + FIELD - start)
    hash.update(text)
  }
  return hash.digest()
}

const FIELD = 8

const relocatedFields = ({ ordinary, plt, relr }: DynamicRelocations): number[] => [
  ...ordinary.map((r) => r.offset),
  ...plt.map((r) => r.offset),
  ...relr,
]
