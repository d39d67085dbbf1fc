/** Which module of the process is the base image of a patch. */
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import type { HotPatchBase } from '../patch/table.ts'
import type { MappedModule, Process } from '../process/contract.ts'
import { type Blocker, blocker } from './blockers.ts'
import { identityInMemory, type LiveIdentity, type ReadMemory } from './identity.ts'
import { isActive, type Ledger } from './ledger.ts'
import { equal, hexBytes } from './sites.ts'

export interface FoundBase {
  readonly module: MappedModule
  /** The table's entry for it. */
  readonly entry: HotPatchBase
}

/** The one module with the identity that the patch is for, whatever its name is; or why there is none. `original`: see originalMemory. */
export function findBase(process: Process, image: PatchImage, original: ReadMemory): FoundBase | Blocker {
  const expected = image.manifest.base
  if (image.machine !== process.machine)
    return blocker('BASE_DIFFERS', '', `the patch is for ${image.machine} programs, the process is an ${process.machine} one`)
  const read: ReadMemory = (address, length) => process.read(address, length)
  const found: FoundBase[] = []
  const namesakes: string[] = []
  for (const module of process.modules()) {
    if (module.format !== image.format) continue
    const identity = readable(() => identityInMemory(module, read, original))
    if (identity === undefined) continue
    const entry = readable(() => image.table.bases.find((base) => isSame(identity, base, image)))
    if (entry !== undefined) found.push({ module, entry })
    else if (sameName(module.name, expected.name)) namesakes.push(readable(() => describe(module, identity)) ?? module.path)
  }
  const [first, ...others] = found
  if (first === undefined) {
    if (namesakes.length === 0)
      return blocker('BASE_NOT_MAPPED', '', `the process does not map ${expected.name} (${describeExpected(image)})`)
    return blocker(
      'BASE_DIFFERS',
      '',
      `the patch is for ${expected.name} (${describeExpected(image)}), the process maps ${namesakes.join(', ')}`,
    )
  }
  if (others.length > 0) {
    const places = found.map(({ module }) => `0x${module.base.toString(16)}`).join(' and ')
    return blocker('BASE_AMBIGUOUS', '', `${expected.name} is mapped ${found.length} times, at ${places}`)
  }
  return first
}

/** A module that cannot be read is not the base image: nothing could be patched in it. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE' && error.code !== 'PERMISSION_DENIED') return undefined
    throw error
  }
}

/** Build ids decide where there are any; where there are none, the bytes of the text do. */
function isSame(identity: LiveIdentity, base: HotPatchBase, image: PatchImage): boolean {
  if (identity.timeDateStamp !== base.originalTimeDateStamp || identity.checkSum !== base.originalCheckSum) return false
  const { buildId, textSha256 } = image.manifest.base
  if (buildId !== undefined) return identity.buildId() === buildId
  return equal(identity.textSha256(), Buffer.from(textSha256, 'hex'))
}

/** Windows knows no case in file names. */
const sameName = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

const describeExpected = (image: PatchImage): string => {
  const { buildId, textSha256 } = image.manifest.base
  return buildId === undefined ? `text ${textSha256}` : `build id ${buildId}`
}

function describe(module: MappedModule, identity: LiveIdentity): string {
  const buildId = identity.buildId()
  return `${module.path} (${buildId === undefined ? `text ${hexBytes(identity.textSha256())}` : `build id ${buildId}`})`
}

/** Memory with the original bytes of whatever patches stand in it. */
export function originalMemory(process: Process, ledgers: readonly Ledger[]): ReadMemory {
  const sites = ledgers.filter(isActive).flatMap((ledger) => ledger.sites)
  return (address, length) => {
    const data = process.read(address, length)
    for (const site of sites) {
      const at = Number(site.address - address)
      for (const [i, byte] of site.original.entries()) if (at + i >= 0 && at + i < length) data[at + i] = byte
    }
    return data
  }
}
