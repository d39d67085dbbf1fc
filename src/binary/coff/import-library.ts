/**
 * Import libraries: which DLL exports what a linker finds in them. Two forms: short imports, one a member (Microsoft, lld), and objects
 * with parts of an import directory (binutils' dlltool), where `.idata$7` leads over the head member to the DLL's name.
 */
import { readArchive } from '../archive/reader.ts'
import { cstring, viewOf } from '../struct.ts'
import { IMAGE_SYM_CLASS } from './definitions.ts'
import { type CoffImport, type CoffObject, type CoffSection, isCoffObject, readCoffObject } from './reader.ts'

export interface LibraryImport {
  /** The linker's name, without `__imp_`. */
  readonly symbol: string
  readonly library: string
  /** As the DLL exports it; undefined: by ordinal. */
  readonly name: string | undefined
  readonly ordinal: number | undefined
  readonly kind: 'function' | 'data'
}

/** By the linker's names, each once. Members that are none are passed over. Throws what readArchive and readCoffObject throw. */
export function readImportLibrary(archive: Uint8Array): Map<string, LibraryImport> {
  const imports = new Map<string, LibraryImport>()
  const objects: CoffObject[] = []
  for (const { data } of readArchive(archive)) {
    if (!isCoffObject(data)) continue
    const member = readCoffObject(data)
    if (member.kind === 'object') objects.push(member)
    else add(imports, fromShort(member))
  }
  const libraries = librariesByHead(objects)
  for (const object of objects) for (const found of fromObject(object, libraries)) add(imports, found)
  return imports
}

const add = (imports: Map<string, LibraryImport>, found: LibraryImport): void => {
  if (!imports.has(found.symbol)) imports.set(found.symbol, found)
}

/** IMPORT_OBJECT_NAME_TYPE. */
const NAME_TYPES = { ordinal: 0, name: 1, noPrefix: 2, undecorate: 3 } as const

function fromShort({ symbol, library, ordinalOrHint, type, nameType }: CoffImport): LibraryImport {
  const kind = type === 'code' ? 'function' : 'data'
  if (nameType === NAME_TYPES.ordinal) return { symbol, library, name: undefined, ordinal: ordinalOrHint, kind }
  const plain = nameType === NAME_TYPES.noPrefix || nameType === NAME_TYPES.undecorate ? symbol.replace(/^[?@_]/, '') : symbol
  const name = nameType === NAME_TYPES.undecorate ? plain.replace(/@.*$/, '') : plain
  return { symbol, library, name, ordinal: undefined, kind }
}

const IMP = '__imp_'

const sectionNamed = ({ sections }: CoffObject, name: string): CoffSection | undefined =>
  sections.find((s) => s.name === name && s.size > 0)

/** The DLLs' names by the symbols of the head members. */
function librariesByHead(objects: readonly CoffObject[]): Map<string, string> {
  const names = new Map<string, string>()
  for (const object of objects) {
    const content = sectionNamed(object, '.idata$7')?.content
    const owner = object.symbols.find((s) => s.name.endsWith('_iname') && s.sectionNumber > 0)
    if (content !== undefined && owner !== undefined) names.set(owner.name, cstring(content, 0, 'the name of a DLL'))
  }
  const heads = new Map<string, string>()
  for (const object of objects) {
    const head = sectionNamed(object, '.idata$2')
    if (head === undefined) continue
    const targets = new Set(head.relocations.map((r) => r.symbolIndex))
    const name = object.symbols
      .filter((s) => targets.has(s.index))
      .map((s) => names.get(s.name))
      .find((n) => n !== undefined)
    const own = object.symbols.find((s) => s.sectionNumber === head.number && s.storageClass === IMAGE_SYM_CLASS.EXTERNAL)
    if (name !== undefined && own !== undefined) heads.set(own.name, name)
  }
  return heads
}

/** Several where aliases share a member. */
function* fromObject(object: CoffObject, libraries: ReadonlyMap<string, string>): Generator<LibraryImport> {
  const thunk = sectionNamed(object, '.idata$5')
  const library = object.symbols.map((s) => libraries.get(s.name)).find((name) => name !== undefined)
  if (thunk?.content === undefined || library === undefined) return
  // A hint of 2 bytes, then the name; by ordinal there is none, and the thunk says which.
  const hintAndName = sectionNamed(object, '.idata$6')?.content
  const name = hintAndName === undefined ? undefined : cstring(hintAndName, 2, 'the name of an import')
  const ordinal = name === undefined ? viewOf(thunk.content).getUint16(0, true) : undefined
  const text = object.sections.find((s) => s.name === '.text' && s.size > 0)
  for (const symbol of object.symbols) {
    if (symbol.sectionNumber !== thunk.number || !symbol.name.startsWith(IMP)) continue
    const own = symbol.name.slice(IMP.length)
    const called = text !== undefined && object.symbols.some((s) => s.name === own && s.sectionNumber === text.number)
    yield { symbol: own, library, name, ordinal, kind: called ? 'function' : 'data' }
  }
}
