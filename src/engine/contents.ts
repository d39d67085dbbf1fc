/** The final bytes of everything that an apply maps and writes, computed for a place before anything is touched. */
import type { Redirects } from '../machine/architecture.ts'
import { architectureOf } from '../machine/architectures.ts'
import type { PatchImage, PatchImport, PatchSegment } from '../patch/image.ts'
import { placeImage } from '../patch/place.ts'
import type { MapRequest, MapSegment, Process, UnwindRequest } from '../process/contract.ts'
import type { Placed } from './examine.ts'
import type { PlannedFunction } from './functions.ts'
import { type Layout, namesFor, withoutHoles } from './layout.ts'
import type { Ledger, LedgerBody, LedgerFunction, LedgerSegment, LedgerThreadLocal, Site } from './ledger.ts'
import { encodeLedger } from './ledger-codec.ts'
import { hashPage, stubAddress } from './memory-check.ts'
import { MAPPING_NAME, PAGE, STUB_SIZE, STUBS_PER_PAGE } from './pages.ts'
import { placesIn } from './thread-local/places.ts'

export interface Contents {
  readonly ledger: LedgerBody
  /** Stubs, pointers and ledger. */
  readonly region: MapRequest
  readonly image: MapRequest
}

/**
 * @param inPlace the patch whose place this one takes
 * @param imports where each import of the image lies
 * @param threadLocal where each thread-local variable of the image lies
 */
export function makeContents(
  process: Process,
  image: PatchImage,
  functions: readonly PlannedFunction[],
  placed: Placed,
  inPlace: Ledger | undefined,
  imports: ReadonlyMap<PatchImport, bigint>,
  threadLocal: readonly LedgerThreadLocal[],
): Contents {
  const { base, layout, place } = placed
  const redirects = architectureOf(image.machine).redirects
  const segments = withoutHoles(
    placeImage(image, base.entry, {
      imageAddress: place.image,
      baseAddress: base.module.base,
      read: (address, length) => process.read(address, length),
      imports,
      threadLocal: placesIn(threadLocal),
    }),
    image.imageSize,
  )
  const stubPage = redirects.stubPage()
  const ledgerFunctions = ledgerFunctionsOf(functions, placed, stubPage, redirects)
  const ledger: LedgerBody = {
    address: place.region,
    regionSize: layout.regionSize,
    machine: image.machine,
    sequence: image.table.sequenceNumber,
    predecessor: inPlace?.address ?? 0n,
    wholeAtOneInstant: image.manifest.consistency === 'patch',
    base: {
      address: base.module.base,
      size: base.module.size,
      format: image.format,
      timeDateStamp: base.entry.originalTimeDateStamp,
      checkSum: base.entry.originalCheckSum,
    },
    image: { address: place.image, size: image.imageSize, fileSha256: image.fileSha256 },
    callout: image.manifest.callout === undefined ? 0n : place.image + BigInt(image.manifest.callout),
    unwind: unwindRequest(image, place.image),
    pairsOffset: layout.pairsOffset,
    pairCount: layout.pairCount,
    functions: ledgerFunctions,
    sites: functions.flatMap((f, i) => sitesOf(f, i, stubAddress(ledgerFunctions[i] as LedgerFunction), redirects)),
    segments: segments.map(ledgerSegment),
    names: namesFor(image, base, threadLocal),
  }
  return {
    ledger,
    region: { address: place.region, name: `${MAPPING_NAME}${image.manifest.id}:hpat`, segments: regionSegments(ledger, layout, stubPage) },
    image: {
      address: place.image,
      name: `${MAPPING_NAME}${image.manifest.id}`,
      segments: segments.map(({ rva, size, protection, content }) => ({ offset: rva, size, protection, content })),
    },
  }
}

/** New redirects get the stubs of the new region, one after the other. */
function ledgerFunctionsOf(
  functions: readonly PlannedFunction[],
  { layout, place }: Placed,
  stubPage: Uint8Array,
  redirects: Redirects,
): LedgerFunction[] {
  let stubs = 0
  const nextStub = (): Pick<LedgerFunction, 'region' | 'stubOffset' | 'stubCode'> => {
    const [pair, inPage] = [Math.floor(stubs / STUBS_PER_PAGE), (stubs % STUBS_PER_PAGE) * redirects.stubSize]
    stubs++
    const stubOffset = layout.pairsOffset + pair * 2 * PAGE + inPage
    return { region: place.region, stubOffset, stubCode: stubPage.slice(inPage, inPage + redirects.stubSize) }
  }
  return functions.map(({ name, file, fragments, entryAddress, rva, size, targetRva, targetSize, redirect }) => ({
    name,
    file,
    entryAddress,
    target: place.image + BigInt(targetRva),
    rva,
    size,
    targetRva,
    targetSize,
    ...(redirect.standing ? redirect.stub : nextStub()),
    kind: redirect.kind,
    safeWhileRunning: redirect.safeWhileRunning,
    fragments,
  }))
}

function sitesOf({ entryAddress, redirect }: PlannedFunction, index: number, stub: bigint, redirects: Redirects): Site[] {
  if (redirect.standing) return redirect.sites.map((site) => ({ ...site, function: index }))
  const encoded = redirects.encode(redirect, entryAddress, stub)
  const site = (phase: Site['phase'], { address, bytes }: { address: bigint; bytes: Uint8Array }): Site => {
    const original = redirect.original.get(Number(address - entryAddress)) ?? new Uint8Array()
    return { address, function: index, phase, original, replacement: bytes }
  }
  return [...encoded.prepare.map((write) => site('prepare', write)), site('switch', encoded.switch)]
}

const ledgerSegment = ({ rva, size, protection, content }: PatchSegment): LedgerSegment => {
  if (protection === 'rw') return { rva, size, protection, pageHashes: [] }
  const whole = new Uint8Array(size)
  whole.set(content)
  const pageHashes = Array.from({ length: size / PAGE }, (_, page) => hashPage(whole.subarray(page * PAGE, (page + 1) * PAGE)))
  return { rva, size, protection, pageHashes }
}

function regionSegments(ledger: LedgerBody, layout: Layout, stubPage: Uint8Array): MapSegment[] {
  const pairs = Array.from({ length: layout.pairCount }, (_, pair): MapSegment[] => {
    const pointers = new BigUint64Array(STUBS_PER_PAGE)
    const offset = layout.pairsOffset + pair * 2 * PAGE
    for (const { region, stubOffset, target } of ledger.functions)
      if (region === ledger.address && stubOffset >= offset && stubOffset < offset + PAGE)
        pointers[(stubOffset - offset) / STUB_SIZE] = target
    return [
      { offset, size: PAGE, protection: 'rx', content: stubPage },
      { offset: offset + PAGE, size: PAGE, protection: 'r', content: new Uint8Array(pointers.buffer) },
    ]
  })
  return [{ offset: 0, size: layout.pairsOffset, protection: 'r', content: encodeLedger(ledger) }, ...pairs.flat()]
}

function unwindRequest({ unwind }: PatchImage, imageAddress: bigint): UnwindRequest | undefined {
  if (unwind === undefined) return undefined
  const address = imageAddress + BigInt(unwind.rva)
  switch (unwind.kind) {
    case 'eh_frame':
      return { kind: 'eh_frame', address, size: unwind.size }
    case 'pdata':
      return { kind: 'pdata', address, count: unwind.count, imageBase: imageAddress }
  }
}
