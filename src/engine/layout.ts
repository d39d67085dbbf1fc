/** Where everything that a patch brings into a process lies: sizes first, then a place, both before anything is mapped. */
import { architectureOf } from '../machine/architectures.ts'
import type { PatchImage, PatchSegment } from '../patch/image.ts'
import { reachOf } from '../patch/place.ts'
import type { Process } from '../process/contract.ts'
import { VERSION } from '../version.ts'
import type { FoundBase } from './find-base.ts'
import type { PlannedFunction } from './functions.ts'
import type { LedgerBody, LedgerSegment, LedgerThreadLocal, Site } from './ledger.ts'
import { ledgerSize } from './ledger-codec.ts'
import { HASH_BYTES } from './ledger-format.ts'
import { PAGE, pageUp, STUBS_PER_PAGE } from './pages.ts'
import { unplaced } from './thread-local/places.ts'

export interface Layout {
  /** Of the first pair of stub page and pointer page, from the start of the region. */
  readonly pairsOffset: number
  readonly pairCount: number
  readonly regionSize: number
  /** Of the patch image from the start of the region. */
  readonly imageOffset: number
  /** Of region and image with what is free between them. */
  readonly totalSize: number
}

export interface Place {
  readonly region: bigint
  readonly image: bigint
}

/** What mappings begin on wherever hotpatch runs (Windows: 64 KB). */
const GRANULARITY = 0x10000

export function layOut(image: PatchImage, base: FoundBase, functions: readonly PlannedFunction[]): Layout {
  const size = ledgerSize({
    functions: functions.map((f) => ({ ...f, ...NO_FUNCTION, kind: f.redirect.kind })),
    sites: functions.flatMap(({ redirect }) =>
      redirect.standing ? redirect.sites : [...redirect.prepare, redirect.switch].map(() => NO_SITE),
    ),
    segments: withoutHoles(image.segments, image.imageSize).map(
      ({ rva, size, protection }): LedgerSegment => ({
        rva,
        size,
        protection,
        pageHashes: protection === 'rw' ? [] : Array.from({ length: size / PAGE }, () => new Uint8Array(HASH_BYTES)),
      }),
    ),
    names: namesFor(image, base, unplaced(image)),
  })
  const pairsOffset = pageUp(size)
  const pairCount = Math.ceil(functions.filter(({ redirect }) => !redirect.standing).length / STUBS_PER_PAGE)
  const regionSize = pairsOffset + pairCount * 2 * PAGE
  const imageOffset = Math.ceil(regionSize / GRANULARITY) * GRANULARITY
  return { pairsOffset, pairCount, regionSize, imageOffset, totalSize: imageOffset + image.imageSize }
}

/** Nobody knows. */
const ANY_ESCAPES = { code: true, data: true, constants: true }

const NO_FUNCTION = { target: 0n, region: 0n, stubOffset: 0, stubCode: new Uint8Array(), safeWhileRunning: false }
const NO_SITE: Site = { address: 0n, function: 0, phase: 'switch', original: new Uint8Array(), replacement: new Uint8Array() }

export const namesFor = (image: PatchImage, base: FoundBase, threadLocal: readonly LedgerThreadLocal[]): LedgerBody['names'] => ({
  id: image.manifest.id,
  description: image.manifest.description,
  cves: image.manifest.cves,
  tool: VERSION,
  baseName: base.module.name,
  basePath: base.module.path,
  data: image.manifest.added
    .filter(({ kind }) => kind === 'data')
    .map(({ name, file = '', patchRva, size }) => ({ name, file, rva: patchRva, size })),
  threadLocal,
  escapes: image.manifest.escapes ?? ANY_ESCAPES,
})

/**
 * A free place behind or before the base image, from which redirects reach their stubs and the patch image's references reach the base
 * image. undefined: there is none.
 */
export function findPlaceFor(process: Process, image: PatchImage, base: FoundBase, layout: Layout): Place | undefined {
  const { base: start, size } = base.module
  const end = start + BigInt(size)
  const { reach } = architectureOf(image.machine).redirects
  const total = BigInt(layout.totalSize)
  const images = reachOf(image, base.entry, start)
  const imageOffset = BigInt(layout.imageOffset)
  const low = highest(end - reach, images.low - imageOffset, 0n)
  const high = lowest(start + reach, images.high)
  const region = high - low < total ? undefined : process.findPlace({ size: layout.totalSize, near: end, low, high })
  return region === undefined ? undefined : { region, image: region + imageOffset }
}

const highest = (...values: readonly bigint[]): bigint => values.toSorted(ascending).at(-1) ?? 0n
const lowest = (...values: readonly bigint[]): bigint => values.toSorted(ascending).at(0) ?? 0n
const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : 1)

/** Whoever maps wants every page: what the image leaves out is there, readable and zero. */
export function withoutHoles(segments: readonly PatchSegment[], imageSize: number): PatchSegment[] {
  const whole: PatchSegment[] = []
  let end = 0
  const fill = (to: number) => {
    if (to > end) whole.push({ rva: end, size: to - end, protection: 'r', content: new Uint8Array() })
  }
  for (const segment of segments) {
    fill(segment.rva)
    whole.push(segment)
    end = segment.rva + segment.size
  }
  fill(imageSize)
  return whole
}
