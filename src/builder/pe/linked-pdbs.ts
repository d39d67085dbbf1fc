/** Which of the PDBs that there are is of which build's image. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isMsf } from '../../binary/pdb/msf.ts'
import { hasImage } from '../../binary/pdb/type-server.ts'
import type { DebugTypes } from '../../binary/types/model.ts'
import { HotpatchError } from '../../errors.ts'
import { isFolder, readInput } from '../../files.ts'
import type { SymbolFile } from '../symbol-source.ts'
import type { ObjectFile, ObjectsOfBuild } from '../type-source.ts'
import { type LinkedPdb, readLinkedPdb } from './linked-types.ts'

interface Served {
  readonly pdb: LinkedPdb
  readonly of: ObjectsOfBuild
}

/** A PDB serves a build where it is that of its image, and not of the other build's. */
export class LinkedPdbs {
  readonly #before: ObjectsOfBuild
  readonly #after: ObjectsOfBuild
  readonly #given: readonly string[]
  readonly #whys = new Map<ObjectsOfBuild, string>()
  #read: readonly Served[] | undefined

  constructor(before: ObjectsOfBuild, after: ObjectsOfBuild, given: readonly string[]) {
    this.#before = before
    this.#after = after
    this.#given = given
  }

  types(object: ObjectFile, build: ObjectsOfBuild): DebugTypes | undefined {
    for (const { pdb, of } of this.#pdbs()) {
      const types = of === build ? pdb.types(object, build) : undefined
      if (types !== undefined) return types
    }
    return undefined
  }

  /** Why none of the PDBs that there are is of this build; undefined: there are none, or one is. */
  why(build: ObjectsOfBuild): string | undefined {
    return this.#pdbs().some(({ of }) => of === build) ? undefined : this.#whys.get(build)
  }

  refusal(file: SymbolFile): string | undefined {
    const of = this.#buildOf(readLinkedPdb(file))
    return typeof of === 'string' ? of : undefined
  }

  #pdbs(): readonly Served[] {
    this.#read ??= [
      ...this.#served(this.#given, [this.#before, this.#after]),
      ...[this.#before, this.#after].flatMap((build) => (isFolder(build.given) ? this.#served(pdbsIn(build.given, true), [build]) : [])),
    ]
    return this.#read
  }

  /** Those of `paths` that are of one of `builds`. What cannot be read is passed over with its reason. */
  #served(paths: readonly string[], builds: readonly ObjectsOfBuild[]): Served[] {
    return paths.flatMap((path) => {
      let of: ObjectsOfBuild | string
      try {
        const data = readInput(path)
        if (!isMsf(data) || !hasImage(data)) return []
        const pdb = readLinkedPdb({ path, data })
        of = this.#buildOf(pdb)
        if (typeof of !== 'string') {
          if (builds.includes(of)) return [{ pdb, of }]
          of = 'it is of the other build'
        }
      } catch (error) {
        if (!(error instanceof HotpatchError)) throw error
        of = `it cannot be read: ${error.detail}`
      }
      for (const build of builds) if (!this.#whys.has(build)) this.#whys.set(build, `${path} has no types for it: ${of}`)
      return []
    })
  }

  #buildOf(pdb: LinkedPdb): ObjectsOfBuild | string {
    const fits = [this.#before, this.#after].map((build) => ({ build, fit: pdb.fit(build) }))
    const [only, ...others] = fits.flatMap(({ build, fit }) => ('objects' in fit && fit.objects > 0 ? [build] : []))
    if (only === undefined) {
      const otherwise = fits.flatMap(({ fit }) => ('otherwise' in fit ? [fit.otherwise] : []))
      return otherwise.length === 0 ? 'it names none of the objects that differ' : `it has another ${[...new Set(otherwise)].join(' and ')}`
    }
    return others.length === 0 ? only : 'what differs between the builds is not in the image, so it is not known whose it is'
  }
}

/** By name. */
export const pdbsIn = (folder: string, recursive = false): string[] =>
  readdirSync(folder, { withFileTypes: true, recursive })
    .filter((entry) => entry.isFile() && /\.pdb$/i.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort()
