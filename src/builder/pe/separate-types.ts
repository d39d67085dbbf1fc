/** Types of COFF objects in PDBs: one that the compiler has written with the object, or one that the linker wrote for the image. */
import { dirname } from 'node:path'
import { type TypeServerReference, typeServerOf } from '../../binary/codeview/type-server.ts'
import { codeViewSections } from '../../binary/coff/codeview-sections.ts'
import { readCoffObject } from '../../binary/coff/reader.ts'
import { hasImage, readTypeServer } from '../../binary/pdb/type-server.ts'
import { isFolder } from '../../files.ts'
import type { SymbolFile } from '../symbol-source.ts'
import type { FoundTypes, ObjectFile, ObjectsOfBuild, TypeSource, TypeSources } from '../type-source.ts'
import { LinkedPdbs, pdbsIn } from './linked-pdbs.ts'
import { areOneFile, mismatch, TypeServers } from './type-servers.ts'

/**
 * PDBs are looked for in the folders of the builds and among `symbols`, files and folders that a person gave.
 * @returns sources that parse nothing before they are asked
 */
export function coffTypeSources(before: ObjectsOfBuild, after: ObjectsOfBuild, symbols: readonly string[]): TypeSources {
  const given = symbols.flatMap((path) => (isFolder(path) ? pdbsIn(path) : [path]))
  const linked = new LinkedPdbs(before, after, given)
  return {
    before: new CoffTypeSource(before, given, linked),
    after: new CoffTypeSource(after, given, linked),
    refusal: (file) => (hasImage(file.data) ? linked.refusal(file) : refusalOfServer(file, before, after)),
  }
}

class CoffTypeSource implements TypeSource {
  readonly #build: ObjectsOfBuild
  readonly #servers: TypeServers
  readonly #linked: LinkedPdbs

  constructor(build: ObjectsOfBuild, given: readonly string[], linked: LinkedPdbs) {
    this.#build = build
    this.#servers = new TypeServers(isFolder(build.given) ? build.given : dirname(build.given), given)
    this.#linked = linked
  }

  of(object: ObjectFile): FoundTypes {
    const read = readCoffObject(object.bytes)
    const sections = read.kind === 'object' ? codeViewSections(read) : undefined
    const reference = sections && typeServerOf(sections.types)
    let why: string | undefined
    if (sections !== undefined && reference !== undefined) {
      const server = this.#servers.find(reference, fileOf(object))
      if (typeof server !== 'string') return { types: server.of(sections.symbols), why }
      why = server
    }
    // What the linker has written has taken in what the compiler had.
    const types = this.#linked.types(object, this.#build)
    return { types, why: types === undefined ? (why ?? this.#linked.why(this.#build)) : undefined }
  }
}

/** The object's file from the folder of the build, the archive's for a member. */
const fileOf = ({ path }: ObjectFile): string => path.replace(/\(.*\)$/, '')

/** Of a PDB that a compiler has written: one that an object names, and is the one that it means. Of objects that are the same the later ones are not at hand. */
function refusalOfServer({ path, data }: SymbolFile, before: ObjectsOfBuild, after: ObjectsOfBuild): string | undefined {
  const server = readTypeServer(data)
  const named = (objects: readonly ObjectFile[]): TypeServerReference[] =>
    objects.flatMap(({ bytes }) => referenceIn(bytes) ?? []).filter((reference) => areOneFile(path, reference.path))
  const refusals = [...before.different, ...after.different].flatMap((object) =>
    named([object]).map((reference) => mismatch(server, reference)),
  )
  if (refusals.includes(undefined) || named(before.same).length > 0) return undefined
  return refusals[0] ?? 'no object has its types there'
}

function referenceIn(bytes: Uint8Array): TypeServerReference | undefined {
  const object = readCoffObject(bytes)
  const sections = object.kind === 'object' ? codeViewSections(object) : undefined
  return sections && typeServerOf(sections.types)
}
