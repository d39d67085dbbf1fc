/** Writing and reading a ledger's bytes. What is read comes from a process and is not trusted. */
import { createHash } from 'node:crypto'
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'
import type { Ledger, LedgerBody, LedgerDatum, LedgerNames, LedgerThreadLocal } from './ledger.ts'
import {
  CALLOUT_STATES,
  FORMATS,
  FUNCTION_FLAGS,
  HASH_BYTES,
  IMAGE_STATES,
  LEDGER_FLAGS,
  LEDGER_FUNCTION,
  LEDGER_HEADER,
  LEDGER_LAYOUT,
  LEDGER_MAGIC,
  LEDGER_MAX_SIZE,
  LEDGER_SEGMENT,
  LEDGER_SITE,
  LEDGER_STATES,
  MACHINES,
  nameOf,
  PROTECTIONS,
  REDIRECT_KINDS,
  SITE_BYTES,
  SITE_PHASES,
  UNWIND_KINDS,
  UNWIND_STATES,
} from './ledger-format.ts'
import { PAGE, STUB_SIZE } from './pages.ts'

/** How many bytes encodeLedger will make. */
export function ledgerSize(body: Pick<LedgerBody, 'functions' | 'sites' | 'segments' | 'names'>): number {
  const hashes = body.segments.reduce((sum, segment) => sum + segment.pageHashes.length, 0)
  return recordsSize(body.functions.length, body.sites.length, body.segments.length, hashes) + encodeNames(body).length
}

const recordsSize = (functions: number, sites: number, segments: number, hashes: number): number =>
  LEDGER_HEADER.size + functions * LEDGER_FUNCTION.size + sites * LEDGER_SITE.size + segments * LEDGER_SEGMENT.size + hashes * HASH_BYTES

/** A distance or number has as many digits whatever it is: a ledger's size is known before it. */
const DISTANCE_DIGITS = 16
const MODULE_LENGTH = 48

function encodeNames({ names, functions }: Pick<LedgerBody, 'functions' | 'names'>): Uint8Array {
  const whole = {
    ...names,
    threadLocal: names.threadLocal.map(({ name, file, rva, size, module, offset, distance, index }) => ({
      name,
      file,
      rva,
      size,
      module: module.padEnd(MODULE_LENGTH),
      offset: String(offset).padStart(DISTANCE_DIGITS),
      distance: BigInt.asUintN(64, distance).toString(16).padStart(DISTANCE_DIGITS, '0'),
      ...(index === undefined ? {} : { index: String(index).padStart(DISTANCE_DIGITS) }),
    })),
    data: names.data.map(({ name, file, rva, size }) => ({ name, file, rva, size })),
    functions: functions.map(({ name, file, fragments }) => ({
      name,
      file,
      fragments: fragments.map(({ rva, size }) => ({ rva, size })),
    })),
  }
  return Buffer.from(JSON.stringify(whole))
}

/** The ledger as it is mapped: state `loading`. */
export function encodeLedger(body: LedgerBody): Uint8Array {
  const names = encodeNames(body)
  const hashes = body.segments.flatMap((segment) => segment.pageHashes)
  const size = recordsSize(body.functions.length, body.sites.length, body.segments.length, hashes.length) + names.length
  const data = new Uint8Array(size)
  const view = new DataView(data.buffer)
  let at = LEDGER_HEADER.size
  for (const f of body.functions) {
    LEDGER_FUNCTION.write(view, at, {
      ...f,
      kind: REDIRECT_KINDS[f.kind],
      flags: f.safeWhileRunning ? FUNCTION_FLAGS.safeWhileRunning : 0,
      reserved: 0,
    })
    at += LEDGER_FUNCTION.size
  }
  for (const site of body.sites) {
    LEDGER_SITE.write(view, at, {
      address: site.address,
      function: site.function,
      phase: SITE_PHASES[site.phase],
      length: site.original.length,
      reserved: 0,
      original: padded(site.original),
      replacement: padded(site.replacement),
    })
    at += LEDGER_SITE.size
  }
  for (const segment of body.segments) {
    LEDGER_SEGMENT.write(view, at, {
      rva: segment.rva,
      size: segment.size,
      protection: PROTECTIONS[segment.protection],
      pageHashes: segment.pageHashes.length,
    })
    at += LEDGER_SEGMENT.size
  }
  for (const hash of hashes) {
    data.set(hash, at)
    at += HASH_BYTES
  }
  data.set(names, at)
  LEDGER_HEADER.write(view, 0, {
    magic: LEDGER_MAGIC,
    layout: LEDGER_LAYOUT,
    headerSize: LEDGER_HEADER.size,
    state: BigInt(LEDGER_STATES.loading),
    unwindState: BigInt(UNWIND_STATES.none),
    unwindRegistration: 0n,
    switchedAt: 0n,
    revertedAt: 0n,
    successor: 0n,
    fellow: 0n,
    imageState: BigInt(IMAGE_STATES.mapped),
    calloutState: BigInt(CALLOUT_STATES.none),
    selfAddress: body.address,
    ledgerSize: size,
    regionSize: body.regionSize,
    machine: MACHINES[body.machine],
    sequence: body.sequence,
    predecessor: body.predecessor,
    baseAddress: body.base.address,
    baseSize: body.base.size,
    baseFormat: FORMATS[body.base.format],
    baseTimeDateStamp: body.base.timeDateStamp,
    baseCheckSum: body.base.checkSum,
    imageAddress: body.image.address,
    callout: body.callout,
    imageSize: body.image.size,
    unwindKind: UNWIND_KINDS[body.unwind?.kind ?? 'none'],
    unwindAddress: body.unwind?.address ?? 0n,
    unwindExtent: body.unwind === undefined ? 0 : body.unwind.kind === 'eh_frame' ? body.unwind.size : body.unwind.count,
    pairCount: body.pairCount,
    pairsOffset: body.pairsOffset,
    functionCount: body.functions.length,
    siteCount: body.sites.length,
    segmentCount: body.segments.length,
    pageHashCount: hashes.length,
    namesSize: names.length,
    flags: body.wholeAtOneInstant ? LEDGER_FLAGS.wholeAtOneInstant : 0,
    reserved: 0,
    fileSha256: body.image.fileSha256,
    checksum: new Uint8Array(HASH_BYTES),
  })
  data.set(checksumOf(data), LEDGER_HEADER.offsets.checksum)
  return data
}

function padded(site: Uint8Array): Uint8Array {
  const data = new Uint8Array(SITE_BYTES)
  data.set(site)
  return data
}

/** Over everything that never changes, itself left out. */
const checksumOf = (ledger: Uint8Array): Uint8Array =>
  createHash('sha256')
    .update(ledger.subarray(LEDGER_HEADER.offsets.selfAddress, LEDGER_HEADER.offsets.checksum))
    .update(ledger.subarray(LEDGER_HEADER.size))
    .digest()

/**
 * The ledger at `address` of the process. undefined: there is none (the memory does not begin with a ledger's mark, or the mark is a
 * copy lying elsewhere). Throws LEDGER_DAMAGED where there is one that contradicts itself or is of another layout.
 */
export function readLedger(process: Process, address: bigint): Ledger | undefined {
  const header = readHeader(process, address)
  if (header === undefined) return undefined
  const damaged = (what: string): never => {
    throw new HotpatchError('LEDGER_DAMAGED', `the ledger at 0x${address.toString(16)} of process ${process.pid} is damaged: ${what}`, {
      facts: { pid: process.pid, ledger: `0x${address.toString(16)}` },
    })
  }
  if (header.layout !== LEDGER_LAYOUT || header.headerSize !== LEDGER_HEADER.size)
    return damaged(`its layout is ${header.layout}, this hotpatch knows layout ${LEDGER_LAYOUT}`)
  const { functionCount, siteCount, segmentCount, pageHashCount, namesSize, pairCount } = header
  const expected = recordsSize(functionCount, siteCount, segmentCount, pageHashCount) + namesSize
  if (header.ledgerSize !== expected || expected > LEDGER_MAX_SIZE)
    return damaged(`its records need ${expected} bytes, it says ${header.ledgerSize}`)
  const data = process.read(address, header.ledgerSize)
  if (!Buffer.from(checksumOf(data)).equals(header.checksum)) return damaged('its checksum is wrong')

  if (
    header.pairsOffset < header.ledgerSize ||
    header.pairsOffset % PAGE !== 0 ||
    header.regionSize !== header.pairsOffset + pairCount * 2 * PAGE
  )
    return damaged(`its region is said to have ${header.regionSize} bytes`)

  const state = nameOf(LEDGER_STATES, header.state) ?? damaged(`its state is ${header.state}`)
  const unwindState = nameOf(UNWIND_STATES, header.unwindState) ?? damaged(`its unwind state is ${header.unwindState}`)
  const imageState = nameOf(IMAGE_STATES, header.imageState) ?? damaged(`its image state is ${header.imageState}`)
  const calloutState = nameOf(CALLOUT_STATES, header.calloutState) ?? damaged(`its callout state is ${header.calloutState}`)
  const unwindKind = nameOf(UNWIND_KINDS, header.unwindKind) ?? damaged(`its unwind kind is ${header.unwindKind}`)

  let at = LEDGER_HEADER.size
  const functionRecords = LEDGER_FUNCTION.readMany(data, at, functionCount)
  at += functionCount * LEDGER_FUNCTION.size
  const siteRecords = LEDGER_SITE.readMany(data, at, siteCount)
  at += siteCount * LEDGER_SITE.size
  const segmentRecords = LEDGER_SEGMENT.readMany(data, at, segmentCount)
  at += segmentCount * LEDGER_SEGMENT.size
  const hashes = Array.from({ length: pageHashCount }, (_, i) => data.slice(at + i * HASH_BYTES, at + (i + 1) * HASH_BYTES))
  at += pageHashCount * HASH_BYTES
  const names = parseNames(data.subarray(at, at + namesSize))

  let hash = 0
  return {
    address,
    regionSize: header.regionSize,
    machine: nameOf(MACHINES, header.machine) ?? damaged(`its machine is ${header.machine}`),
    sequence: header.sequence,
    predecessor: header.predecessor,
    wholeAtOneInstant: (header.flags & LEDGER_FLAGS.wholeAtOneInstant) !== 0,
    successor: header.successor,
    fellow: header.fellow,
    state,
    imageState,
    calloutState,
    unwindState,
    unwindRegistration: header.unwindRegistration,
    switchedAt: Number(header.switchedAt),
    revertedAt: Number(header.revertedAt),
    base: {
      address: header.baseAddress,
      size: header.baseSize,
      format: nameOf(FORMATS, header.baseFormat) ?? damaged(`its base format is ${header.baseFormat}`),
      timeDateStamp: header.baseTimeDateStamp,
      checkSum: header.baseCheckSum,
    },
    image: { address: header.imageAddress, size: header.imageSize, fileSha256: header.fileSha256 },
    callout: header.callout,
    unwind: unwindOf(unwindKind, header),
    pairsOffset: header.pairsOffset,
    pairCount,
    functions: functionRecords.map((record, i) => {
      const unnamed = { name: `function at RVA 0x${record.rva.toString(16)}`, file: '', fragments: [] }
      const { name, file, fragments } = names.functions[i] ?? unnamed
      const kind = nameOf(REDIRECT_KINDS, record.kind) ?? damaged(`function ${name} has redirect kind ${record.kind}`)
      const inPairs = record.stubOffset >= header.pairsOffset && record.stubOffset < header.regionSize
      if (record.stubOffset % STUB_SIZE !== 0 || (record.region === address && !inPairs))
        damaged(`function ${name} has its stub at offset ${record.stubOffset}`)
      const { flags, reserved: _, ...numbers } = record
      return { ...numbers, name, file, fragments, kind, safeWhileRunning: (flags & FUNCTION_FLAGS.safeWhileRunning) !== 0 }
    }),
    sites: siteRecords.map((record, i) => {
      const phase = nameOf(SITE_PHASES, record.phase) ?? damaged(`site ${i} has phase ${record.phase}`)
      if (record.length === 0 || record.length > SITE_BYTES) damaged(`site ${i} has ${record.length} bytes`)
      if (record.function >= functionCount) damaged(`site ${i} belongs to function ${record.function} of ${functionCount}`)
      if (record.address < header.baseAddress || record.address + BigInt(record.length) > header.baseAddress + BigInt(header.baseSize))
        damaged(`site ${i} lies outside the base image`)
      return {
        address: record.address,
        function: record.function,
        phase,
        original: record.original.slice(0, record.length),
        replacement: record.replacement.slice(0, record.length),
      }
    }),
    segments: segmentRecords.map((record, i) => {
      const pageHashes = hashes.slice(hash, hash + record.pageHashes)
      hash += record.pageHashes
      const wholePages = record.pageHashes === 0 || record.pageHashes * PAGE === record.size
      if (!wholePages || pageHashes.length !== record.pageHashes || record.rva + record.size > header.imageSize)
        damaged(`segment ${i} is out of bounds`)
      const protection = nameOf(PROTECTIONS, record.protection) ?? damaged(`segment ${i} has protection ${record.protection}`)
      return { rva: record.rva, size: record.size, protection, pageHashes }
    }),
    names,
  }
}

function readHeader(process: Process, address: bigint) {
  const header = LEDGER_HEADER.readAt(process.read(address, LEDGER_HEADER.size), 0)
  return header.magic === LEDGER_MAGIC && header.selfAddress === address ? header : undefined
}

function unwindOf(kind: keyof typeof UNWIND_KINDS, header: { unwindAddress: bigint; unwindExtent: number; imageAddress: bigint }) {
  const { unwindAddress: address, unwindExtent, imageAddress } = header
  switch (kind) {
    case 'none':
      return undefined
    case 'eh_frame':
      return { kind, address, size: unwindExtent } as const
    case 'pdata':
      return { kind, address, count: unwindExtent, imageBase: imageAddress } as const
  }
}

/** What is missing or of another type gets a word that says so. */
function parseNames(data: Uint8Array): LedgerNames {
  const names = object(parseJson(data))
  return {
    id: text(names.id, 'unnamed'),
    description: text(names.description),
    cves: list(names.cves).map((cve) => text(cve)),
    tool: text(names.tool, 'unknown'),
    baseName: text(names.baseName, 'unknown'),
    basePath: text(names.basePath),
    data: list(names.data).map(datumOf),
    threadLocal: list(names.threadLocal).flatMap(threadLocalOf),
    escapes: escapesOf(names.escapes),
    functions: list(names.functions).map(functionOf),
  }
}

function functionOf(value: unknown): LedgerNames['functions'][number] {
  const { name, file, fragments } = object(value)
  return {
    name: text(name, 'unnamed'),
    file: text(file),
    fragments: list(fragments).map((fragment) => ({ rva: natural(object(fragment).rva), size: natural(object(fragment).size) })),
  }
}

/** Where it is not said that no address escapes, some may. */
function escapesOf(value: unknown): LedgerNames['escapes'] {
  const { code, data, constants } = object(value)
  return { code: code !== false, data: data !== false, constants: constants !== false }
}

function datumOf(value: unknown): LedgerDatum {
  const { name, file, rva, size } = object(value)
  return { name: text(name), file: text(file), rva: natural(rva), size: natural(size) }
}

/** One whose place cannot be read is left out: nothing is told of it, so its values do not go on. */
function threadLocalOf(value: unknown): LedgerThreadLocal[] {
  const { module, offset, distance, index } = object(value)
  const digits = text(distance)
  if (!/^[0-9a-f]{16}$/.test(digits) || (index !== undefined && !/^ *[0-9]+$/.test(text(index)))) return []
  return [
    {
      ...datumOf(value),
      module: text(module).trimEnd(),
      offset: natural(Number(text(offset).trim())),
      distance: BigInt.asIntN(64, BigInt(`0x${digits}`)),
      ...(index === undefined ? {} : { index: natural(Number(text(index))) }),
    },
  ]
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString('utf8'))
  } catch {
    return undefined
  }
}

const object = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null ? { ...value } : {})
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const text = (value: unknown, otherwise = ''): string => (typeof value === 'string' ? value : otherwise)
const natural = (value: unknown): number => (typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : 0)
