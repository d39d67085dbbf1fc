/** The hot patch table and the manifest of a plan, once its layout is known. Both formats hold the same. */
import { HotpatchError } from '../errors.ts'
import { IMAGE_HOT_PATCH_CHUNK_SIZE } from '../patch/definitions.ts'
import { hotPatchBaseFlags } from '../patch/encode.ts'
import type { BaseIdentity } from '../patch/identity.ts'
import type { Manifest } from '../patch/manifest.ts'
import type { ChunkType, HotPatchChunk, HotPatchRecord, HotPatchTable } from '../patch/table.ts'
import { VERSION } from '../version.ts'
import { escapesOf } from './escapes.ts'
import type { Block, Edge } from './graph.ts'
import { OWN_ABSOLUTE32_KINDS, OWN_THREAD_RECORDS } from './own-records.ts'
import { entryOf, functionSize, isAnonymous, parentName, primarySymbol } from './places.ts'
import type { PatchedFunction, PatchPlan, Resolution } from './plan.ts'

type RvaOf = (block: Block) => number

/** The version of winnt.h's table that has room for original bytes. */
const TABLE_VERSION = 3
const EXTRA_PATCH_SIZE = 1

/** What the engine passes over is never written. */
type WrittenType = Exclude<ChunkType, 'CALL_TARGET' | 'NO_CALL_TARGET' | 'DYNAMIC_VALUE'>

export function tableFor(plan: PatchPlan, rvaOf: RvaOf): HotPatchTable {
  const { identity } = plan.base
  const records: Record<WrittenType, HotPatchRecord[]> = {
    FUNCTION: plan.functions.map((f) => ({ source: f.rva, target: entryRva(f, rvaOf), extras: [f.originalBytes] })),
    ABSOLUTE: [],
    REL32: [],
    ABSOLUTE32: [],
    OWN_ABSOLUTE32: [],
    INDIRECT: [],
    PAGE21: [],
    BRANCH26: [],
    OWN_THREAD32: [],
    OWN_THREAD_HIGH12: [],
    OWN_THREAD_LOW12: [],
    OWN_THREAD_INDEX: [],
  }
  for (const block of plan.blocks) {
    for (const edge of block.edges) {
      const resolution = plan.resolutions.get(edge)
      // What the image imports stands in its own tables.
      if (resolution === undefined || resolution.to === 'import') continue
      if (resolution.to === 'patch') {
        const type = OWN_ABSOLUTE32_KINDS.has(edge.kind) ? 'OWN_ABSOLUTE32' : OWN_THREAD_RECORDS.get(edge.kind)
        if (type === undefined) continue
        const target = rvaOf(resolution.block) + resolution.offset + edge.addend
        if (target < 0)
          throw new HotpatchError('DEFECT', `the reference of ${block.name} to ${edge.target.name} leads before the patch image`)
        records[type].push({ source: rvaOf(block) + edge.offset, target, extras: [0] })
        continue
      }
      // fixups.ts has filled it in.
      if (edge.kind === 'pageoff12') continue
      const { type, target } = recordFor(edge, resolution)
      if (target < 0 || target > plan.base.imageSize)
        throw new HotpatchError('DEFECT', `the reference of ${block.name} to ${edge.target.name} leads outside of ${plan.base.name}`)
      records[type].push({ source: rvaOf(block) + edge.offset, target, extras: [0] })
    }
  }
  const chunks = (Object.keys(records) as (keyof typeof records)[]).flatMap((type) => chunksOf(type, records[type]))
  return {
    version: TABLE_VERSION,
    sequenceNumber: plan.sequence,
    bufferOffset: 0,
    extraPatchSize: EXTRA_PATCH_SIZE,
    minSequenceNumber: 0,
    flags: 0,
    bases: [
      {
        sequenceNumber: plan.sequence,
        flags: hotPatchBaseFlags({ machine: plan.base.machine, obligatory: true, canRollBack: true }),
        originalTimeDateStamp: identity.timeDateStamp,
        originalCheckSum: identity.checkSum,
        hashes: { sha256: identity.textSha256, sha1: sha1Of(identity) },
        bufferOffset: 0,
        chunks,
      },
    ],
  }
}

/** Where calls of the old function come to. */
const entryRva = ({ block, entry, landing }: PatchedFunction, rvaOf: RvaOf): number =>
  landing === undefined ? rvaOf(block) + entry : rvaOf(landing)

/** Which record lets the engine fill in a field, and its target. REL32 fields count from their own end, not the instruction's. */
function recordFor(
  edge: Edge,
  resolution: Extract<Resolution, { rva: number }>,
): { type: 'ABSOLUTE' | 'REL32' | 'ABSOLUTE32' | 'INDIRECT' | 'PAGE21' | 'BRANCH26'; target: number } {
  if (resolution.to === 'base-pointer') {
    if (edge.kind === 'abs64' && edge.addend === 0) return { type: 'INDIRECT', target: resolution.rva }
  } else
    switch (edge.kind) {
      case 'abs64':
        return { type: 'ABSOLUTE', target: resolution.rva + edge.addend }
      case 'abs32':
      case 'abs32s':
        return { type: 'ABSOLUTE32', target: resolution.rva + edge.addend }
      case 'pcrel32':
      case 'branch32':
        return { type: 'REL32', target: resolution.rva + edge.addend + edge.size }
      case 'page21':
        return { type: 'PAGE21', target: resolution.rva + edge.addend }
      case 'branch26':
        return { type: 'BRANCH26', target: resolution.rva + edge.addend }
    }
  throw new HotpatchError('DEFECT', `there is no record for a ${edge.kind} field that leads to the base image (${edge.target.name})`)
}

function chunksOf(type: ChunkType, unsorted: readonly HotPatchRecord[]): HotPatchChunk[] {
  const records = [...unsorted].sort((a, b) => a.source - b.source)
  const chunks: HotPatchChunk[] = []
  for (let at = 0; at < records.length; at += IMAGE_HOT_PATCH_CHUNK_SIZE)
    chunks.push({ type, inverse: type !== 'FUNCTION', obligatory: true, records: records.slice(at, at + IMAGE_HOT_PATCH_CHUNK_SIZE) })
  return chunks
}

const SHA1_SIZE = 20

/** The table has room for a SHA-1: a build id is one as a rule. Else the beginning of the text's SHA-256 stands there. */
function sha1Of({ buildId, textSha256 }: BaseIdentity): Uint8Array {
  const id = buildId !== undefined && /^[0-9a-f]{40}$/.test(buildId) ? Uint8Array.from(Buffer.from(buildId, 'hex')) : undefined
  return id ?? textSha256.slice(0, SHA1_SIZE)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export function manifestFor(plan: PatchPlan, rvaOf: RvaOf): Manifest {
  const { base } = plan
  const { buildId, textSha256 } = base.identity
  return {
    format: 1,
    id: plan.id,
    description: plan.description,
    cves: [...plan.cves],
    sequence: plan.sequence,
    tool: `hotpatch ${VERSION}`,
    base: { name: base.name, ...(buildId === undefined ? {} : { buildId }), textSha256: hex(textSha256), imageSize: base.imageSize },
    functions: plan.functions.map((f) => ({
      name: f.name,
      file: f.file,
      rva: f.rva,
      size: f.size,
      patchRva: entryRva(f, rvaOf),
      patchSize: f.landing === undefined ? functionSize(f.block) - (f.entry - entryOf(f.block)) : f.landing.size,
      redirect: f.redirect as Manifest['functions'][number]['redirect'],
      ...(f.fragments.length === 0 ? {} : { fragments: f.fragments.map(({ rva, size }) => ({ rva, size })) }),
    })),
    added: addedBlocks(plan).map(({ block, name, file, kind, offset, size }) => ({
      name,
      ...(file === undefined ? {} : { file }),
      kind,
      patchRva: rvaOf(block) + offset,
      size,
    })),
    escapes: escapesOf(plan),
    ...(plan.atOneInstant ? { consistency: 'patch' as const } : {}),
    ...(plan.mustBeUnused === undefined || plan.mustBeUnused.length === 0 ? {} : { mustBeUnused: [...plan.mustBeUnused] }),
    ...(plan.together === undefined ? {} : { together: plan.together.map(({ id, base }) => ({ id, base })) }),
    ...(plan.accepted === undefined || plan.accepted.length === 0
      ? {}
      : { accepted: plan.accepted.map(({ code, symbol, file, detail }) => ({ code, symbol, file, detail })) }),
    ...(plan.callout === undefined ? {} : { callout: rvaOf(plan.callout.block) + plan.callout.offset }),
    imports: importsOf(plan).map(({ name, library }) => (library === undefined ? { name } : { name, library })),
  }
}

export interface AddedBlock {
  readonly block: Block
  readonly name: string
  readonly file: string | undefined
  readonly kind: 'function' | 'data' | 'rodata' | 'thread-local'
  /** Of the function's entry or the datum, in its block. */
  readonly offset: number
  readonly size: number
}

const ADDED_KINDS: Readonly<Partial<Record<Block['kind'], AddedBlock['kind']>>> = {
  code: 'function',
  rodata: 'rodata',
  tls: 'thread-local',
}

/** Named functions and data that the base image does not have, in the plan's order. */
export function addedBlocks(plan: PatchPlan): AddedBlock[] {
  const patched = new Set(plan.functions.map((f: PatchedFunction) => f.block))
  const added: AddedBlock[] = []
  for (const block of plan.blocks) {
    const symbol = primarySymbol(block)
    if (symbol === undefined || patched.has(block) || block.kind === 'unwind' || isAnonymous(block) || parentName(block) !== undefined)
      continue
    const isCode = block.kind === 'code'
    added.push({
      block,
      name: symbol.name,
      file: plan.files?.get(block),
      kind: ADDED_KINDS[block.kind] ?? 'data',
      offset: isCode ? symbol.offset : 0,
      size: isCode ? functionSize(block) : block.size,
    })
  }
  return added
}

/** Import slots of the base image that the patch goes through, each once, by name. */
export function importsOf(plan: PatchPlan): { name: string; library: string | undefined }[] {
  const used = new Set<number>()
  for (const resolution of plan.resolutions.values()) if ('rva' in resolution) used.add(resolution.rva)
  const found = new Map<string, string | undefined>()
  for (const slot of plan.base.importSlots) if (used.has(slot.rva) && !found.has(slot.name)) found.set(slot.name, slot.library)
  return [...found].map(([name, library]) => ({ name, library })).sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** What the patch image imports by itself, each once, by name. */
export function ownImportsOf(plan: PatchPlan): { name: string; library: string; version: string | undefined }[] {
  const found = new Map<string, { name: string; library: string; version: string | undefined }>()
  for (const resolution of plan.resolutions.values()) {
    if (resolution.to !== 'import') continue
    const { name, library, version } = resolution.import
    found.set(`${name}\0${library}\0${version}`, { name, library, version })
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
