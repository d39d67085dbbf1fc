/** The final bytes of everything that an apply maps and writes, computed for a place before anything is touched. */
import type { PatchImage, PatchSegment } from '../patch/image.ts'
import { placeImage } from '../patch/place.ts'
import type { MapRequest, MapSegment, Process, UnwindRequest } from '../process/contract.ts'
import type { Placed } from './examine.ts'
import type { PlannedFunction } from './functions.ts'
import { type Layout, namesFor, type Place, withoutHoles } from './layout.ts'
import type { LedgerBody, LedgerFunction, LedgerSegment, Site } from './ledger.ts'
import { encodeLedger } from './ledger-codec.ts'
import { hashPage, stubAddress } from './memory-check.ts'
import { MAPPING_NAME, PAGE, STUBS_PER_PAGE } from './pages.ts'
import { type Processor, processorOf } from './processors.ts'

export interface Contents {
  readonly ledger: LedgerBody
  /** Stubs, pointers and ledger. */
  readonly region: MapRequest
  readonly image: MapRequest
}

export function makeContents(process: Process, image: PatchImage, functions: readonly PlannedFunction[], placed: Placed): Contents {
  const { base, layout, place } = placed
  const processor = processorOf(image.machine)
  const segments = withoutHoles(
    placeImage(image, base.entry, {
      imageAddress: place.image,
      baseAddress: base.module.base,
      read: (address, length) => process.read(address, length),
    }),
    image.imageSize,
  )
  const stubPage = processor.stubPage()
  const ledgerFunctions = functions.map((f, stub): LedgerFunction => ledgerFunction(f, stub, place, stubPage, processor))
  const ledger: LedgerBody = {
    address: place.region,
    regionSize: layout.regionSize,
    machine: image.machine,
    sequence: image.table.sequenceNumber,
    base: {
      address: base.module.base,
      size: base.module.size,
      format: image.format,
      timeDateStamp: base.entry.originalTimeDateStamp,
      checkSum: base.entry.originalCheckSum,
    },
    image: { address: place.image, size: image.imageSize, fileSha256: image.fileSha256 },
    unwind: unwindRequest(image, place.image),
    pairsOffset: layout.pairsOffset,
    pairCount: layout.pairCount,
    functions: ledgerFunctions,
    sites: functions.flatMap((f, i) =>
      sitesOf(f, i, stubAddress({ address: place.region, pairsOffset: layout.pairsOffset }, i), processor),
    ),
    segments: segments.map(ledgerSegment),
    names: namesFor(image, base),
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

function ledgerFunction(f: PlannedFunction, stub: number, place: Place, stubPage: Uint8Array, processor: Processor): LedgerFunction {
  const at = (stub % STUBS_PER_PAGE) * processor.stubSize
  return {
    name: f.name,
    file: f.file,
    entryAddress: f.entryAddress,
    target: place.image + BigInt(f.targetRva),
    rva: f.rva,
    size: f.size,
    targetRva: f.targetRva,
    targetSize: f.targetSize,
    stub,
    stubCode: stubPage.slice(at, at + processor.stubSize),
    kind: f.redirect.kind,
  }
}

function sitesOf(f: PlannedFunction, index: number, stub: bigint, processor: Processor): Site[] {
  const encoded = processor.encodeRedirect(f.redirect, f.entryAddress, stub)
  const site = (phase: Site['phase'], { address, bytes }: { address: bigint; bytes: Uint8Array }): Site => {
    const original = f.original.get(Number(address - f.entryAddress)) ?? new Uint8Array()
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
    for (const f of ledger.functions.slice(pair * STUBS_PER_PAGE, (pair + 1) * STUBS_PER_PAGE)) pointers[f.stub % STUBS_PER_PAGE] = f.target
    const offset = layout.pairsOffset + pair * 2 * PAGE
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
