/** Which objects went into which image of a build. */
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { type Call, type Link, meaningOf } from './calls.ts'

/** A program, library or DLL that the build has made. */
export interface LinkedImage {
  readonly path: string
  /** Objects and archives of the build that were linked into it, absolute, each once. */
  readonly files: readonly string[]
}

const ARCHIVE = /\.(a|lib)$/i
const LIBRARY = /\.(so(\.\d+)*|dll|dylib|dll\.a|def|lds|ver|map|sym)$/i

/** @param roots folders that belong to the build: what lies elsewhere is the system's */
export function linkedImages(calls: readonly Call[], roots: readonly string[]): LinkedImage[] {
  const links = new Map<string, Link>()
  for (const call of calls) {
    const meaning = meaningOf(call)
    if (meaning?.kind === 'link') links.set(existing(meaning.output), meaning)
  }
  const isOurs = (path: string): boolean => roots.some((root) => !relative(root, path).startsWith('..'))
  const inputsOf = (link: Link, seen: Set<string>): string[] =>
    [...link.files, ...link.libraries.flatMap((name) => archiveOf(name, link.folders))].flatMap((file) => {
      if (seen.has(file) || !isOurs(file)) return []
      seen.add(file)
      const part = links.get(file)
      if (part?.partial) return inputsOf(part, seen)
      return LIBRARY.test(file) || part !== undefined ? [] : [file]
    })
  return [...links]
    .filter(([output, { partial }]) => !partial && isOurs(output) && existsSync(output))
    .map(([path, link]) => ({ path, files: inputsOf(link, new Set()) }))
    .filter(({ files }) => files.length > 0)
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** Compilers for Windows add the ending where there is none. */
const existing = (output: string): string => (!existsSync(output) && existsSync(`${output}.exe`) ? `${output}.exe` : output)

/** What `-lNAME` means, if that is an archive: the first folder that has it, in which a shared library comes first. */
function archiveOf(name: string, folders: readonly string[]): string[] {
  if (name.startsWith(':')) {
    const found = folders.map((folder) => join(folder, name.slice(1))).find((file) => existsSync(file))
    return found !== undefined && ARCHIVE.test(found) ? [found] : []
  }
  for (const folder of folders) {
    if (['.so', '.dll.a'].some((ending) => existsSync(join(folder, `lib${name}${ending}`)))) return []
    const archive = join(folder, `lib${name}.a`)
    if (existsSync(archive)) return [archive]
  }
  return []
}
