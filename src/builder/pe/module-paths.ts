/** Which modules of a PDB may be which object, by their paths: linkers write them as they were given or whole, and of Windows. */

/** As PdbModule has it. */
interface ModuleName {
  readonly name: string
  readonly file: string
}

export interface Near<M> {
  readonly module: M
  /** Parts of the paths that are the same, from the end; at least the name. */
  readonly common: number
}

/**
 * The modules of each object, what has most in common first. A module is only that object's with which it has most in common; where several
 * have equally much, nobody's.
 * @param paths of objects, as in LinkGraph
 */
export function modulesByPath<M extends ModuleName>(modules: readonly M[], paths: readonly string[]): Map<string, Near<M>[]> {
  const byName = new Map<string, { readonly path: string; readonly parts: readonly string[] }[]>()
  for (const path of paths) addTo(byName, nameOf(partsOfPath(path)), { path, parts: partsOfPath(path) })
  const found = new Map<string, Near<M>[]>()
  for (const module of modules) {
    const parts = partsOfModule(module)
    const near = (byName.get(nameOf(parts)) ?? []).map((object) => ({ path: object.path, common: commonEnd(parts, object.parts) }))
    const common = Math.max(...near.map((each) => each.common))
    const [only, ...others] = near.filter((each) => each.common === common)
    if (only !== undefined && others.length === 0) addTo(found, only.path, { module, common })
  }
  for (const list of found.values()) list.sort((a, b) => b.common - a.common)
  return found
}

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const known = lists.get(key)
  if (known === undefined) lists.set(key, [value])
  else known.push(value)
}

function commonEnd(a: readonly string[], b: readonly string[]): number {
  let count = 0
  while (count < a.length && count < b.length && a.at(-1 - count) === b.at(-1 - count)) count += 1
  return count
}

const nameOf = (parts: readonly string[]): string => parts.at(-1) ?? ''

const split = (path: string): string[] => path.toLowerCase().split(/[\\/]+/)

/** `lib/a.lib(dir/b.obj#2)`: the archive is the folder of its members. */
function partsOfPath(path: string): string[] {
  const [, archive, member] = /^(.*)\((.*?)(?:#\d+)?\)$/.exec(path) ?? []
  return archive === undefined || member === undefined ? split(path) : [...split(archive), ...split(member)]
}

const partsOfModule = ({ name, file }: ModuleName): string[] => (name === file ? split(name) : [...split(file), ...split(name)])
