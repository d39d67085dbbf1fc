/** What each module has put into the image: sections of its object, as the linker took them. */
import { crc32 } from 'node:zlib'
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { CONTRIBUTIONS_VERSION, SectionContribution } from './definitions.ts'

export interface Contribution {
  /** Index of the module. */
  readonly module: number
  /** Number of the image's section, from 1. */
  readonly segment: number
  /** From the start of that section. */
  readonly offset: number
  /** Bytes. */
  readonly size: number
  /** IMAGE_SCN flags of the object's section. */
  readonly characteristics: number
  /** Of the bytes in the object, before they were relocated; `contributionCrc` makes the same. */
  readonly crc: number
}

const STRIDES: ReadonlyMap<number, number> = new Map([
  [CONTRIBUTIONS_VERSION.V60, SectionContribution.size],
  [CONTRIBUTIONS_VERSION.V2, SectionContribution.size + 4],
])

/** What linkers (Microsoft's and lld) have as the check sum of a section: CRC-32 that begins with 0 and is not inverted. */
export const contributionCrc = (content: Uint8Array): number => ~crc32(content, 0xffffffff) >>> 0

/** The substream of the debug information stream. Throws FORMAT_UNKNOWN, TRUNCATED. */
export function readContributions(substream: Uint8Array): Contribution[] {
  if (substream.length < 4) return []
  const version = viewOf(substream).getUint32(0, true)
  const stride = STRIDES.get(version)
  if (stride === undefined)
    throw new HotpatchError('FORMAT_UNKNOWN', `the section contributions of the PDB have version 0x${version.toString(16)}`)
  const count = Math.floor((substream.length - 4) / stride)
  return SectionContribution.readMany(substream, 4, count, stride).map((entry) => ({
    module: entry.ModuleIndex,
    segment: entry.Section,
    offset: entry.Offset,
    size: entry.Size,
    characteristics: entry.Characteristics,
    crc: entry.DataCrc,
  }))
}

/** Answers which module has put into the image what lies at a place of it; undefined: the linker, or nobody. */
export function ownersOf(contributions: readonly Contribution[]): (segment: number, offset: number) => number | undefined {
  const sorted = contributions.filter(({ size, segment }) => size > 0 && segment > 0)
  sorted.sort((a, b) => a.segment - b.segment || a.offset - b.offset)
  return (segment, offset) => {
    // The last that begins at the place or before.
    let [low, high] = [0, sorted.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      const { segment: of, offset: at } = sorted[middle] as Contribution
      if (of < segment || (of === segment && at <= offset)) low = middle + 1
      else high = middle
    }
    const found = sorted[low - 1]
    return found !== undefined && found.segment === segment && offset < found.offset + found.size ? found.module : undefined
  }
}
