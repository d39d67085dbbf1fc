/**
 * Whether a hot patch table may be applied: every rule that can be checked before a process is looked at. What only the process can tell
 * (which base image it maps, which patch is active, which bytes stand there) is the engine's to check.
 */
import { HotpatchError } from '../errors.ts'
import {
  IMAGE_HOT_PATCH_BASE_CAN_ROLL_BACK,
  IMAGE_HOT_PATCH_BASE_MACHINE_SHIFT,
  IMAGE_HOT_PATCH_BASE_OBLIGATORY,
  IMAGE_HOT_PATCH_MACHINE,
} from './definitions.ts'
import type { PatchImport, PatchSegment, PatchThreadLocal, RelativeRelocation } from './image.ts'
import type { ChunkType, HotPatchBase, HotPatchChunk, HotPatchRecord, HotPatchTable } from './table.ts'

/** What the table is held against. */
export interface TableFacts {
  readonly machine: 'x64' | 'arm64'
  /** The patch image's, by ascending RVA. */
  readonly segments: readonly Pick<PatchSegment, 'rva' | 'size' | 'protection'>[]
  /** The patch image's own relocations: no record may write where one of them does. */
  readonly relativeRelocations: readonly Pick<RelativeRelocation, 'rva'>[]
  /** The same of its imports. */
  readonly imports: readonly Pick<PatchImport, 'rva'>[]
  readonly threadLocal?: Pick<PatchThreadLocal, 'rva' | 'size' | 'distances'> | undefined
  /** undefined: not known, RVAs of the base image are not checked. */
  readonly baseImageSize: number | undefined
}

interface TypeRule {
  /** Where such records are written: 'base' is not inverse. */
  readonly writes: 'base' | 'patch'
  /** Bytes written at the source. 0: nothing is. */
  readonly width: number
  /** Bytes that must be inside the other image at the target. 0: one past the end is an address, too. */
  readonly targetWidth: number
  /** Whether the engine carries it out. What it does not is passed over, unless the chunk is obligatory. */
  readonly supported: boolean
  /** The only one whose instructions have such a field. */
  readonly machine?: TableFacts['machine']
  /** Several records may be for one field. */
  readonly shared?: true
}

const TYPE_RULES: Readonly<Record<ChunkType, TypeRule>> = {
  // The 4 bytes expected at the function are read; what is written belongs to its redirect.
  FUNCTION: { writes: 'base', width: 4, targetWidth: 1, supported: true },
  ABSOLUTE: { writes: 'patch', width: 8, targetWidth: 0, supported: true },
  REL32: { writes: 'patch', width: 4, targetWidth: 0, supported: true },
  ABSOLUTE32: { writes: 'patch', width: 4, targetWidth: 0, supported: true },
  OWN_ABSOLUTE32: { writes: 'patch', width: 4, targetWidth: 0, supported: true },
  PAGE21: { writes: 'patch', width: 4, targetWidth: 0, supported: true, machine: 'arm64' },
  BRANCH26: { writes: 'patch', width: 4, targetWidth: 0, supported: true, machine: 'arm64' },
  OWN_THREAD32: { writes: 'patch', width: 4, targetWidth: 0, supported: true, machine: 'x64' },
  OWN_THREAD_HIGH12: { writes: 'patch', width: 4, targetWidth: 0, supported: true, machine: 'arm64' },
  OWN_THREAD_LOW12: { writes: 'patch', width: 4, targetWidth: 0, supported: true, machine: 'arm64' },
  OWN_THREAD_INDEX: { writes: 'patch', width: 4, targetWidth: 0, supported: true, shared: true },
  INDIRECT: { writes: 'patch', width: 8, targetWidth: 8, supported: true },
  CALL_TARGET: { writes: 'patch', width: 0, targetWidth: 0, supported: false },
  NO_CALL_TARGET: { writes: 'patch', width: 0, targetWidth: 0, supported: false },
  DYNAMIC_VALUE: { writes: 'patch', width: 8, targetWidth: 0, supported: false },
}

const MACHINE_BITS = {
  x64: IMAGE_HOT_PATCH_MACHINE.Amd64 | IMAGE_HOT_PATCH_MACHINE.Amd64EC,
  arm64: IMAGE_HOT_PATCH_MACHINE.Arm64,
} as const

const MACHINE_MASK = Object.values(IMAGE_HOT_PATCH_MACHINE).reduce((mask, bit) => mask | bit, 0)
const KNOWN_BASE_FLAGS =
  IMAGE_HOT_PATCH_BASE_OBLIGATORY | IMAGE_HOT_PATCH_BASE_CAN_ROLL_BACK | (MACHINE_MASK << IMAGE_HOT_PATCH_BASE_MACHINE_SHIFT)

/** IMAGE_HOT_PATCH_INFO_FLAG_PATCHORDERCRITICAL, IMAGE_HOT_PATCH_INFO_FLAG_HOTSWAP */
const KNOWN_TABLE_FLAGS = 3

const RELOCATION_WIDTH = 8

const invalid = (what: string, facts: Record<string, unknown> = {}): HotpatchError =>
  new HotpatchError('PATCH_RECORD_INVALID', what, { facts })
const hex = (value: number): string => `0x${value.toString(16)}`

/** Throws PATCH_TABLE_MALFORMED, PATCH_WRONG_MACHINE, PATCH_RECORD_INVALID, PATCH_RECORD_UNSUPPORTED. */
export function validateHotPatchTable(table: HotPatchTable, facts: TableFacts): void {
  if (table.bases.length === 0) throw new HotpatchError('PATCH_TABLE_MALFORMED', 'the hot patch table is for no base image')
  if (table.minSequenceNumber > table.sequenceNumber)
    throw new HotpatchError(
      'PATCH_TABLE_MALFORMED',
      `the lowest sequence number ${table.minSequenceNumber} is above the patch's own, ${table.sequenceNumber}`,
    )
  // Two flags of winnt.h: the order of patches matters, and hot swapping. hotpatch applies one patch at a time, and always swaps.
  if ((table.flags & ~KNOWN_TABLE_FLAGS) !== 0)
    throw new HotpatchError('PATCH_TABLE_MALFORMED', `the hot patch table has unknown flags ${hex(table.flags)}`)
  const identities = new Set<string>()
  for (const base of table.bases) {
    const identity = `${hex(base.originalTimeDateStamp)}, ${hex(base.originalCheckSum)}`
    if (identities.has(identity))
      throw new HotpatchError('PATCH_TABLE_MALFORMED', `two base images have the same time stamp and check sum (${identity})`)
    identities.add(identity)
    validateBase(base, table, facts)
  }
}

function validateBase(base: HotPatchBase, table: HotPatchTable, facts: TableFacts): void {
  const unknown = (base.flags & ~KNOWN_BASE_FLAGS) >>> 0
  if (unknown !== 0) throw new HotpatchError('PATCH_TABLE_MALFORMED', `the base image has unknown flags ${hex(unknown)}`)
  const machines = (base.flags >>> IMAGE_HOT_PATCH_BASE_MACHINE_SHIFT) & MACHINE_MASK
  if ((machines & MACHINE_BITS[facts.machine]) === 0)
    throw new HotpatchError('PATCH_WRONG_MACHINE', `the table is for machines ${hex(machines)}, the patch image is for ${facts.machine}`)

  const written: Extent[] = [
    ...facts.relativeRelocations.map(({ rva }) => ({ rva, width: RELOCATION_WIDTH, what: 'a relocation' })),
    ...facts.imports.map(({ rva }) => ({ rva, width: RELOCATION_WIDTH, what: 'an import' })),
    ...(facts.threadLocal?.distances ?? []).map(({ rva }) => ({ rva, width: RELOCATION_WIDTH, what: 'a thread-local relocation' })),
  ]
  const functions: Extent[] = []
  for (const chunk of base.chunks) {
    const rule = TYPE_RULES[chunk.type]
    if (chunk.inverse !== (rule.writes === 'patch')) {
      const direction = chunk.inverse ? 'patch' : 'base'
      throw invalid(`a chunk of type ${chunk.type} would be written into the ${direction} image`)
    }
    if (rule.machine !== undefined && rule.machine !== facts.machine)
      throw invalid(`a chunk of type ${chunk.type} is in a patch image for ${facts.machine}`)
    if (!rule.supported) {
      if (!chunk.obligatory) continue
      throw new HotpatchError('PATCH_RECORD_UNSUPPORTED', `an obligatory chunk is of type ${chunk.type}`)
    }
    for (const record of chunk.records) {
      if (chunk.type === 'FUNCTION') checkFunction(record, table, facts)
      else checkReference(record, chunk, rule, facts)
      const extent = { rva: record.source, width: rule.width, what: `a ${chunk.type} record` }
      if (chunk.type === 'FUNCTION') functions.push(extent)
      else if (rule.shared !== true || !written.some(({ rva, what }) => rva === extent.rva && what === extent.what)) written.push(extent)
    }
  }
  if (functions.length === 0) throw invalid('no function of the base image is redirected')
  refuseOverlaps(functions, 'base')
  refuseOverlaps(written, 'patch')
}

function checkFunction({ source, target, extras }: HotPatchRecord, table: HotPatchTable, { segments, baseImageSize }: TableFacts): void {
  if (extras.length === 0)
    throw invalid(`version ${table.version} of the table does not say which bytes are expected at the function at RVA ${hex(source)}`)
  if (source === 0 || (baseImageSize !== undefined && source + TYPE_RULES.FUNCTION.width > baseImageSize))
    throw invalid(`the function at RVA ${hex(source)} is outside of the base image`, { source })
  if (segmentOf(segments, target, TYPE_RULES.FUNCTION.targetWidth)?.protection !== 'rx')
    throw invalid(`the function at RVA ${hex(source)} would be redirected to RVA ${hex(target)}, where the patch image has no code`, {
      source,
      target,
    })
}

function checkReference({ source, target }: HotPatchRecord, { type }: HotPatchChunk, rule: TypeRule, facts: TableFacts): void {
  if (segmentOf(facts.segments, source, rule.width) === undefined)
    throw invalid(`a ${type} record would write ${rule.width} bytes at RVA ${hex(source)}, outside of the patch image's segments`, {
      source,
    })
  if (type.startsWith('OWN_')) {
    const own: readonly Pick<PatchSegment, 'rva' | 'size'>[] = type === 'OWN_ABSOLUTE32' ? facts.segments : [facts.threadLocal ?? NOTHING]
    const where = type === 'OWN_ABSOLUTE32' ? 'patch image' : "patch image's thread-local data"
    if (segmentOf(own, target, rule.targetWidth) === undefined)
      throw invalid(`the ${type} record for RVA ${hex(source)} refers to RVA ${hex(target)}, outside of the ${where}`, {
        source,
        target,
      })
    return
  }
  if (facts.baseImageSize !== undefined && target + rule.targetWidth > facts.baseImageSize)
    throw invalid(`the ${type} record for RVA ${hex(source)} refers to RVA ${hex(target)}, outside of the base image`, { source, target })
}

const NOTHING = { rva: 0, size: -1 }

/** The segment in which `width` bytes at `rva` lie. */
function segmentOf<S extends { readonly rva: number; readonly size: number }>(
  segments: readonly S[],
  rva: number,
  width: number,
): S | undefined {
  return segments.find((segment) => rva >= segment.rva && rva + width <= segment.rva + segment.size)
}

interface Extent {
  readonly rva: number
  readonly width: number
  readonly what: string
}

function refuseOverlaps(extents: Extent[], image: 'base' | 'patch'): void {
  const ascending = extents.sort((a, b) => a.rva - b.rva)
  for (let i = 1; i < ascending.length; i++) {
    const [first, second] = [ascending[i - 1] as Extent, ascending[i] as Extent]
    if (first.rva + first.width > second.rva)
      throw invalid(`${first.what} and ${second.what} both write at RVA ${hex(second.rva)} of the ${image} image`, { rva: second.rva })
  }
}
