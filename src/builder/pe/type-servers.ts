/** PDBs that compilers have put the types of objects into (`/Zi`): found by the name that the object gives, told by GUID and age. */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import type { TypeServerReference } from '../../binary/codeview/type-server.ts'
import { readTypeServer, type TypeServer } from '../../binary/pdb/type-server.ts'
import { HotpatchError } from '../../errors.ts'
import { readInput } from '../../files.ts'

export class TypeServers {
  readonly #folder: string
  readonly #symbols: readonly string[]
  readonly #read = new Map<string, TypeServer | string>()

  /**
   * @param folder of the objects of one build
   * @param symbols files that a person gave, and those in folders that a person gave
   */
  constructor(folder: string, symbols: readonly string[]) {
    this.#folder = folder
    this.#symbols = symbols
  }

  /** @param file the object's or its archive's, from the folder. A text: why there is none, a half-sentence. */
  find(reference: TypeServerReference, file: string): TypeServer | string {
    const refusals: string[] = []
    for (const path of this.#places(reference, file)) {
      const server = this.#open(path)
      const refusal = typeof server === 'string' ? server : mismatch(server, reference)
      if (refusal === undefined) return server as TypeServer
      refusals.push(`${path}: ${refusal}`)
    }
    const named = `its types are in ${reference.path}`
    return refusals.length === 0 ? `${named}, which was not found` : `${named}; ${refusals.join('; ')}`
  }

  /** Beside the object and in the folders above it, where it was when the object was compiled, and what was given. */
  *#places({ path }: TypeServerReference, file: string): Generator<string> {
    for (let folder = dirname(file); ; folder = dirname(folder)) {
      const here = join(this.#folder, folder)
      yield* readdirSync(here)
        .filter((entry) => areOneFile(entry, path))
        .map((entry) => join(here, entry))
      if (folder === '.') break
    }
    const given = isAbsolute(path) ? path : join(this.#folder, path.replaceAll('\\', '/'))
    if (existsSync(given)) yield given
    yield* this.#symbols.filter((symbol) => areOneFile(symbol, path))
  }

  #open(path: string): TypeServer | string {
    let server = this.#read.get(path)
    if (server === undefined) {
      server = readOrWhy(path)
      this.#read.set(path, server)
    }
    return server
  }
}

function readOrWhy(path: string): TypeServer | string {
  try {
    return readTypeServer(readInput(path))
  } catch (error) {
    if (error instanceof HotpatchError) return `it cannot be read: ${error.detail}`
    throw error
  }
}

/** Compilers only add to such a PDB, and each time its age grows: so a later state serves, an earlier one may lack types. */
export function mismatch({ guid, age }: Pick<TypeServer, 'guid' | 'age'>, reference: TypeServerReference): string | undefined {
  if (guid !== reference.guid) return `it is the PDB ${guid}, the object's is ${reference.guid}`
  return age < reference.age ? `it has age ${age}, and the object needs ${reference.age}` : undefined
}

/** By their names without folders; either path may be of Windows. */
export const areOneFile = (a: string, b: string): boolean => lastPart(a) === lastPart(b)

const lastPart = (path: string): string => path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1).toLowerCase()
