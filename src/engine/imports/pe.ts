/**
 * Names as Windows' loader resolves them: the export of the DLL that is named, through forwarders. An API set is no DLL; what it stands for
 * is seen from the import tables that the loader has filled in for the modules of the process.
 */
import { readImports } from '../../binary/pe/directories.ts'
import { findExport } from '../../binary/pe/find-export.ts'
import { type PeImage, readPeFromMemory } from '../../binary/pe/reader.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { PatchImport } from '../../patch/image.ts'
import type { MappedModule, Process } from '../../process/contract.ts'
import type { LoadedModules } from './modules.ts'

/** More forwarders than any chain has. */
const MOST_HOPS = 16
const isApiSet = (library: string): boolean => /^(api|ext)-ms-/i.test(library)
const withSuffix = (library: string): string => (/\.[^.\\/]+$/.test(library) ? library : `${library}.dll`)

/** Throws what the process throws. */
export function peModules(process: Process): LoadedModules {
  const modules = process.modules().filter(({ format }) => format === 'pe')
  const images = new Map<MappedModule, PeImage | undefined>()
  const imageOf = (module: MappedModule): PeImage | undefined => {
    if (!images.has(module)) images.set(module, read(process, module))
    return images.get(module)
  }
  const byName = (library: string): MappedModule | undefined =>
    modules.find(({ name }) => name.toLowerCase() === withSuffix(library).toLowerCase())

  /** Where the loader has bound the same import for another module. */
  const boundElsewhere = (library: string, name: string): bigint | undefined => {
    for (const module of modules) {
      const image = imageOf(module)
      if (image === undefined) continue
      const same = readImports(image).find(
        (i) => !i.delayed && i.library.toLowerCase() === library.toLowerCase() && (i.name ?? `#${i.ordinal}`) === name,
      )
      if (same !== undefined) return viewOf(image.read(same.slotRva, 8)).getBigUint64(0, true)
    }
    return undefined
  }

  const find = (library: string, name: string, hops = 0): bigint => {
    if (hops > MOST_HOPS) throw new HotpatchError('IMPORT_MISSING', `the forwarders of ${name} do not end`)
    const module = byName(library)
    if (module === undefined) {
      const bound = boundElsewhere(withSuffix(library), name)
      if (bound !== undefined) return bound
      const what = isApiSet(library) ? 'is an API set that no module of the process takes this from' : 'is not loaded'
      throw new HotpatchError('IMPORT_MISSING', `${library}, which is to have ${name}, ${what}`)
    }
    const image = imageOf(module)
    const found = image && findExport(image, name)
    if (found === undefined) throw new HotpatchError('IMPORT_MISSING', `${module.name} of the process does not export ${name}`)
    if ('rva' in found) return module.base + BigInt(found.rva)
    const dot = found.forwarder.lastIndexOf('.')
    return find(found.forwarder.slice(0, dot), found.forwarder.slice(dot + 1), hops + 1)
  }
  return {
    isLoaded: (library) => isApiSet(library) || byName(library) !== undefined,
    find: ({ name, library }: PatchImport) => ({ address: find(library ?? '', name) }),
    get loader() {
      try {
        return find('kernel32.dll', 'LoadLibraryExW')
      } catch (error) {
        if (error instanceof HotpatchError && error.code === 'IMPORT_MISSING') return undefined
        throw error
      }
    },
  }
}

/** undefined: nothing is taken from it. */
function read(process: Process, { base }: MappedModule): PeImage | undefined {
  try {
    return readPeFromMemory((rva, length) => process.read(base + BigInt(rva), length))
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE' && error.code !== 'PERMISSION_DENIED') return undefined
    throw error
  }
}
