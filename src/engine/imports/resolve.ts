/**
 * Where in the process the functions and variables lie that a patch image takes from other modules than its base image. Read from memory:
 * nothing is changed, nothing is called.
 */
import { HotpatchError } from '../../errors.ts'
import type { PatchImage, PatchImport } from '../../patch/image.ts'
import type { Process } from '../../process/contract.ts'
import { type Blocker, blocker } from '../blockers.ts'
import { elfModules } from './elf.ts'
import type { Found, LoadedModules } from './modules.ts'
import { peModules } from './pe.ts'

export interface ResolvedImports {
  readonly found: ReadonlyMap<PatchImport, Found>
  /** Libraries that the process has not loaded, in the image's order. What is taken from them is not in `found`. */
  readonly missing: readonly string[]
  readonly blockers: readonly Blocker[]
}

export const modulesOf = (process: Process, image: Pick<PatchImage, 'format'>): LoadedModules =>
  image.format === 'elf' ? elfModules(process) : peModules(process)

export function resolveImports(process: Process, image: PatchImage): ResolvedImports {
  const found = new Map<PatchImport, Found>()
  const blockers: Blocker[] = []
  if (image.imports.length === 0) return { found, missing: [], blockers }
  const modules = modulesOf(process, image)
  const missing = image.libraries.filter((library) => !modules.isLoaded(library))
  if (missing.length > 0 && modules.loader === undefined)
    blockers.push(
      blocker('LIBRARY_NOT_LOADED', '', `${missing.join(', ')} would have to be loaded, and the process has no function for that`),
    )
  for (const wanted of image.imports) {
    const libraries = wanted.library === undefined ? image.libraries : [wanted.library]
    if (libraries.some((library) => missing.includes(library))) continue
    try {
      found.set(wanted, modules.find(wanted, libraries))
    } catch (error) {
      blockers.push(blockerFor(error, wanted))
    }
  }
  return { found, missing, blockers }
}

function blockerFor(error: unknown, { name }: PatchImport): Blocker {
  if (!(error instanceof HotpatchError) || error.code === 'PROCESS_GONE' || error.code === 'PERMISSION_DENIED') throw error
  const isOurs = error.code === 'IMPORT_MISSING' || error.code === 'IMPORT_AMBIGUOUS'
  return blocker(isOurs ? error.code : 'IMPORT_MISSING', name, isOurs ? error.detail : `${name} cannot be looked up: ${error.detail}`)
}
