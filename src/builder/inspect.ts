/** `hotpatch inspect`: what a file is to hotpatch. */

import { readInput } from '../files.ts'
import { isPatchImage, readPatchImage } from '../patch/read.ts'
import type { HotPatchChunk } from '../patch/table.ts'
import type { BaseImage } from './base-image.ts'
import { inputFormat } from './formats.ts'
import type { Block, LinkGraph } from './graph.ts'
import { readBase } from './images.ts'
import { loadGraphs } from './inputs.ts'
import { functionSize, isAnonymous, primarySymbol } from './places.ts'
import { functionSites, planSite } from './redirects.ts'

export type Inspection = InspectedPatch | InspectedImage | InspectedObjects

/** A reason against a patch that its author has let through. */
export interface AcceptedReason {
  readonly code: string
  readonly symbol: string
  readonly file: string
  readonly detail: string
}

export interface InspectedPatch {
  readonly kind: 'patch'
  readonly format: 'elf' | 'pe'
  readonly machine: string
  readonly id: string
  readonly description: string
  readonly cves: readonly string[]
  readonly sequence: number
  readonly tool: string
  readonly sha256: string
  readonly base: {
    readonly name: string
    readonly buildId: string | undefined
    readonly timeDateStamp: number
    readonly checkSum: number
    readonly textSha256: string
  }
  readonly functions: readonly {
    readonly name: string
    readonly file: string
    /** In the base image. */
    readonly rva: number
    readonly size: number
    readonly patchRva: number
    readonly patchSize: number
    readonly redirect: string
    /** The bytes expected at the function's entry, in memory order. */
    readonly originalBytes: string
  }[]
  readonly added: readonly { readonly name: string; readonly kind: string; readonly patchRva: number; readonly size: number }[]
  /** Reached through the base image's import slots. */
  readonly imports: readonly { readonly name: string; readonly library?: string | undefined }[]
  /** The weakest consistency at which it may be applied; undefined: any. */
  readonly consistency: 'patch' | undefined
  /** Exports of the base image that no other module of a process may name. */
  readonly mustBeUnused: readonly string[]
  readonly accepted: readonly AcceptedReason[]
  /** The patches of the same update, this one among them; undefined: it was made alone. */
  readonly together: readonly { readonly id: string; readonly base: string }[] | undefined
  readonly libraries: readonly string[]
  readonly ownImports: readonly { readonly name: string; readonly library: string | undefined; readonly version: string | undefined }[]
  readonly table: {
    readonly version: number
    readonly extraPatchSize: number
    readonly chunks: readonly { readonly type: string; readonly inverse: boolean; readonly obligatory: boolean; readonly records: number }[]
  }
  readonly segments: readonly { readonly rva: number; readonly size: number; readonly protection: string }[]
}

export interface InspectedImage {
  readonly kind: 'image'
  readonly format: 'elf' | 'pe'
  readonly machine: string
  readonly name: string
  readonly buildId: string | undefined
  readonly timeDateStamp: number
  readonly checkSum: number
  readonly textSha256: string
  readonly imageSize: number
  readonly importSlots: number
  /** By ascending RVA. Empty where the image is stripped. */
  readonly functions: readonly InspectedFunction[]
  /** How many of them can be redirected in which way, and how many not and why. */
  readonly hotpatchable: Readonly<Record<string, number>>
}

export interface InspectedFunction {
  readonly name: string
  readonly file: string | undefined
  readonly rva: number
  readonly size: number
  /** undefined: it cannot be redirected. */
  readonly redirect: string | undefined
  /** Why not: a reason code and a sentence. */
  readonly refused: { readonly code: string; readonly why: string } | undefined
}

export interface InspectedObjects {
  readonly kind: 'objects'
  readonly objects: readonly {
    readonly path: string
    readonly format: 'elf' | 'coff'
    readonly machine: string
    readonly sourceFile: string | undefined
    readonly functions: readonly InspectedBlock[]
    readonly data: readonly InspectedBlock[]
    /** Names that the object takes from elsewhere. */
    readonly undefined: readonly string[]
    readonly notes: readonly string[]
  }[]
}

export interface InspectedBlock {
  readonly name: string
  readonly kind: string
  readonly binding: string
  readonly size: number
  readonly references: number
}

/** Throws FILE_UNREADABLE, FORMAT_UNKNOWN, and what the readers throw for damaged files. */
export function inspectFile(path: string): Inspection {
  const data = readInput(path)
  switch (inputFormat(data)) {
    case 'elf-image':
    case 'pe-image':
      return isPatchImage(data) ? inspectPatch(data) : inspectImage(readBase(path))
    default:
      return { kind: 'objects', objects: loadGraphs(path).map(inspectGraph) }
  }
}

function inspectPatch(data: Uint8Array): InspectedPatch {
  const { format, machine, table, manifest, segments, libraries, imports: ownImports, fileSha256 } = readPatchImage(data)
  const { id, description, cves, sequence, tool, added, imports } = manifest
  const entry = table.bases[0]
  const chunks = entry?.chunks ?? []
  const original = new Map(functionRecords(chunks).map((record) => [record.source, record.extras[0]]))
  return {
    kind: 'patch',
    format,
    machine,
    id,
    description,
    cves,
    sequence,
    tool,
    sha256: Buffer.from(fileSha256).toString('hex'),
    base: {
      name: manifest.base.name,
      buildId: manifest.base.buildId,
      timeDateStamp: entry?.originalTimeDateStamp ?? 0,
      checkSum: entry?.originalCheckSum ?? 0,
      textSha256: manifest.base.textSha256,
    },
    functions: manifest.functions.map((f) => ({ ...f, originalBytes: wordBytes(original.get(f.rva)) })),
    added,
    imports,
    consistency: manifest.consistency,
    mustBeUnused: manifest.mustBeUnused ?? [],
    accepted: manifest.accepted ?? [],
    together: manifest.together,
    libraries,
    ownImports: ownImports.map(({ name, library, version }) => ({ name, library, version })),
    table: {
      version: table.version,
      extraPatchSize: table.extraPatchSize,
      chunks: chunks.map(({ type, inverse, obligatory, records }) => ({ type, inverse, obligatory, records: records.length })),
    },
    segments: segments.map(({ rva, size, protection }) => ({ rva, size, protection })),
  }
}

const functionRecords = (chunks: readonly HotPatchChunk[]) =>
  chunks.filter(({ type, inverse }) => type === 'FUNCTION' && !inverse).flatMap(({ records }) => records)

function wordBytes(word: number | undefined): string {
  if (word === undefined) return ''
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(word)
  return bytes.toString('hex')
}

function inspectImage(base: BaseImage): InspectedImage {
  const functions: InspectedFunction[] = functionSites(base).map((site) => {
    const { name, file, rva, size } = site.symbol
    const plan = planSite(base, site)
    return {
      name,
      file,
      rva,
      size,
      redirect: 'refused' in plan ? undefined : plan.kind,
      refused: 'refused' in plan ? { code: plan.refused, why: plan.why } : undefined,
    }
  })
  const { identity } = base
  return {
    kind: 'image',
    format: base.format,
    machine: base.machine,
    name: base.name,
    buildId: identity.buildId,
    timeDateStamp: identity.timeDateStamp,
    checkSum: identity.checkSum,
    textSha256: Buffer.from(identity.textSha256).toString('hex'),
    imageSize: base.imageSize,
    importSlots: base.importSlots.length,
    functions,
    hotpatchable: tally(functions.map((f) => f.redirect ?? f.refused?.code ?? '')),
  }
}

function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}

function inspectGraph({ path, format, machine, sourceFile, blocks, symbols, notes }: LinkGraph): InspectedObjects['objects'][number] {
  const named = blocks.filter((block) => block.kind === 'code' || (block.kind !== 'unwind' && !isAnonymous(block)))
  return {
    path,
    format,
    machine,
    sourceFile,
    functions: named.filter(({ kind }) => kind === 'code').map(inspectBlock),
    data: named.filter(({ kind }) => kind !== 'code').map(inspectBlock),
    undefined: symbols
      .filter(({ block, absolute, name }) => block === undefined && absolute === undefined && name !== '')
      .map(({ name }) => name)
      .sort(),
    notes,
  }
}

const inspectBlock = (block: Block): InspectedBlock => ({
  name: primarySymbol(block)?.name ?? block.name,
  kind: block.kind,
  binding: primarySymbol(block)?.binding ?? 'local',
  size: block.kind === 'code' ? functionSize(block) : block.size,
  references: block.edges.length,
})
