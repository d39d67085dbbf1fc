/**
 * Types from a PDB that a linker has written: which of its modules is which object, and whether it is this build's at all. A module is an
 * object's where what it has put into the image is in the object, by sizes and check sums.
 */
import { IMAGE_SCN } from '../../binary/coff/definitions.ts'
import { type CoffObject, readCoffObject } from '../../binary/coff/reader.ts'
import { type Contribution, contributionCrc } from '../../binary/pdb/contributions.ts'
import { pdbTypes } from '../../binary/pdb/debug-types.ts'
import { type PdbModule, readPdb } from '../../binary/pdb/reader.ts'
import type { DebugTypes } from '../../binary/types/model.ts'
import type { SymbolFile } from '../symbol-source.ts'
import type { ObjectFile, ObjectsOfBuild } from '../type-source.ts'
import { modulesByPath, type Near } from './module-paths.ts'

export interface LinkedPdb {
  /** How many of the objects that differ it has, all of them as they are; or one that it has otherwise. */
  fit(build: ObjectsOfBuild): { readonly objects: number } | { readonly otherwise: string }
  /** undefined: the object was not linked into the image, or is not what was. Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN. */
  types(object: ObjectFile, build: ObjectsOfBuild): DebugTypes | undefined
}

interface Module extends PdbModule {
  /** What lies in the image of it. */
  readonly contributions: readonly Contribution[]
}

/** Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readLinkedPdb({ data }: SymbolFile): LinkedPdb {
  const pdb = readPdb(data)
  const contributions = pdb.contributions().filter(({ size, segment }) => size > 0 && segment > 0)
  const contributors = new Map<number, Contribution[]>(contributions.map(({ module }) => [module, []]))
  for (const contribution of contributions) contributors.get(contribution.module)?.push(contribution)
  const modules = pdb.modules().map((module, i): Module => ({ ...module, contributions: contributors.get(i) ?? [] }))
  const inImage = modules.filter((module) => module.contributions.length > 0)
  const placed = new Map<ObjectsOfBuild, ReadonlyMap<string, Near<Module>[]>>()
  const candidatesFor = (object: ObjectFile, build: ObjectsOfBuild): readonly Near<Module>[] => {
    let known = placed.get(build)
    if (known === undefined) {
      const paths = [...build.different, ...build.same].map(({ path }) => path)
      known = modulesByPath(inImage, paths)
      placed.set(build, known)
    }
    return known.get(object.path) ?? []
  }
  let typesOf: ReturnType<typeof pdbTypes> | undefined
  return {
    fit(build) {
      let objects = 0
      for (const object of build.different) {
        const candidates = candidatesFor(object, build)
        const coff = candidates.length === 0 ? undefined : coffObject(object)
        if (coff === undefined) continue
        if (candidates.some(({ module }) => isIn(module, coff))) objects += 1
        else if (candidates.some(({ module }) => isAnother(module, coff))) return { otherwise: object.path }
      }
      return { objects }
    },
    types(object, build) {
      const candidates = candidatesFor(object, build)
      const coff = candidates.length === 0 ? undefined : coffObject(object)
      const [best, next] = coff === undefined ? [] : candidates.filter(({ module }) => isIn(module, coff))
      if (best === undefined || best.common === next?.common) return undefined
      typesOf ??= pdbTypes(pdb, modules)
      return typesOf(best.module)
    },
  }
}

function coffObject({ bytes }: ObjectFile): CoffObject | undefined {
  const read = readCoffObject(bytes)
  return read.kind === 'object' ? read : undefined
}

function isIn({ contributions }: Module, { sections }: CoffObject): boolean {
  const sums = new Set(sections.map(({ size, content }) => sumOf(size, content && contributionCrc(content))))
  return contributions.every(({ size, crc, characteristics }) =>
    sums.has(sumOf(size, (characteristics & IMAGE_SCN.CNT_UNINITIALIZED_DATA) !== 0 ? undefined : crc)),
  )
}

/** @param crc undefined: uninitialised data */
const sumOf = (size: number, crc: number | undefined): string => `${size}:${crc ?? ''}`

/** Whether the module is the object in another state, and not one of the same name from elsewhere: a function of the one is in the other. */
function isAnother({ symbols }: Module, object: CoffObject): boolean {
  const names = object.symbols.map(({ name }) => name)
  const functions = symbols.filter(({ kind }) => kind === 'function').map(({ name }) => name.slice(name.lastIndexOf(':') + 1))
  // C's name, Microsoft's for C++, gcc's.
  return functions.some((f) => names.some((name) => name === f || name.startsWith(`?${f}@`) || name.includes(`${f.length}${f}`)))
}
