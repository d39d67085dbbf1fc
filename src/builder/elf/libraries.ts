/** Shared objects on the building machine: which of them would give a name to the base image. */
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { STB, STT, STV } from '../../binary/elf/definitions.ts'
import { readElf } from '../../binary/elf/reader.ts'
import type { ElfSymbol } from '../../binary/elf/symbols.ts'
import { HotpatchError } from '../../errors.ts'
import { readInput } from '../../files.ts'
import type { BaseImage } from '../base-image.ts'
import type { Libraries, NewImport } from '../libraries.ts'

/** Where the loaders of Debian, Fedora, Alpine and their relatives look. */
const MULTIARCH = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const
const systemFolders = ({ machine }: BaseImage): string[] => [
  `/lib/${MULTIARCH[machine]}`,
  `/usr/lib/${MULTIARCH[machine]}`,
  `/usr/${MULTIARCH[machine]}/lib`,
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
  '/usr/local/lib',
]

/**
 * Looks into `given` first, then into what the base image asks for, where its loader would look. Nothing is read before a name is asked
 * for. `find` throws FILE_UNREADABLE and FORMAT_UNKNOWN for those given.
 */
export function elfLibraries(base: BaseImage, given: readonly string[]): Libraries {
  const missing: string[] = []
  let known: Exports[] | undefined
  const libraries = (): Exports[] => {
    known ??= [
      ...given.map((path) => exportsOf(path)),
      ...base.needed.flatMap((soname) => {
        const path = locate(soname, base)
        if (path === undefined) missing.push(soname)
        return path === undefined ? [] : [exportsOf(path, soname)]
      }),
    ]
    return known
  }
  return {
    find(name) {
      for (const { find } of libraries()) {
        const found = find(name)
        if (found !== undefined) return found
      }
      return undefined
    },
    get searched() {
      const names = libraries().map(({ soname }) => soname)
      const none = names.length === 0 ? 'no library was looked into' : `not in ${names.join(', ')}`
      return missing.length === 0 ? none : `${none}; not found on this machine: ${missing.join(', ')}`
    },
  }
}

function locate(soname: string, base: BaseImage): string | undefined {
  const { path, searchPaths } = base
  const origin = dirname(path)
  const own = searchPaths.map((folder) => folder.replace(/\$(ORIGIN|\{ORIGIN\})/g, origin))
  return [...own, origin, ...systemFolders(base)].map((folder) => join(folder, soname)).find((file) => existsSync(file))
}

interface Exports {
  readonly soname: string
  find(name: string): NewImport | undefined
}

/** @param soname as the base image asks for it; undefined: as the library calls itself */
function exportsOf(path: string, soname?: string): Exports {
  const elf = readLibrary(path)
  const library = soname ?? elf.dynamic()?.soname ?? basename(path)
  const versions = elf.versions()
  const byName = new Map<string, NewImport>()
  for (const symbol of elf.dynamicSymbols()) {
    const version = versions(symbol.index)
    // Thread-local variables are not reached by their address.
    if (!isOffered(symbol) || version?.hidden || symbol.type === STT.TLS || byName.has(symbol.name)) continue
    const kind = symbol.type === STT.OBJECT || symbol.type === STT.COMMON ? 'data' : 'function'
    byName.set(symbol.name, { name: symbol.name, library, version: version?.name, kind })
  }
  return { soname: library, find: (name) => byName.get(name) }
}

const isOffered = ({ place, binding, visibility, name }: ElfSymbol): boolean =>
  place === 'section' && name !== '' && binding !== STB.LOCAL && (visibility === STV.DEFAULT || visibility === STV.PROTECTED)

function readLibrary(path: string): ReturnType<typeof readElf> {
  try {
    return readElf(readInput(path))
  } catch (error) {
    if (!(error instanceof HotpatchError) || error.code !== 'FORMAT_UNKNOWN') throw error
    throw new HotpatchError('FORMAT_UNKNOWN', `${path} is no shared object (a linker script names one: give that)`, { cause: error })
  }
}
