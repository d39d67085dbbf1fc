/** Import libraries and DLLs on the building machine: which DLL exports a name. */
import { existsSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { IMAGE_SCN } from '../../binary/coff/definitions.ts'
import { readImportLibrary } from '../../binary/coff/import-library.ts'
import { readExports } from '../../binary/pe/directories.ts'
import { readPe } from '../../binary/pe/reader.ts'
import { HotpatchError } from '../../errors.ts'
import { readInput } from '../../files.ts'
import type { BaseImage } from '../base-image.ts'
import { inputFormat } from '../formats.ts'
import type { Libraries, NewImport } from '../libraries.ts'

/** Where the import libraries of mingw-w64 lie (Debian, Fedora, MSYS2). */
const SYSTEM_FOLDERS = ['/usr/x86_64-w64-mingw32/lib', '/usr/x86_64-w64-mingw32/sys-root/mingw/lib', '/mingw64/lib', '/ucrt64/lib']

type Exports = ReadonlyMap<string, NewImport>

/**
 * Looks into `given` first (import libraries, DLLs), then into the import libraries of what the base image imports, beside it and in the
 * compiler's folders. Nothing is read before a name is asked for. `find` throws FILE_UNREADABLE and FORMAT_UNKNOWN for those given.
 */
export function peLibraries(base: BaseImage, given: readonly string[]): Libraries {
  const missing: string[] = []
  const names: string[] = []
  let known: Exports[] | undefined
  const libraries = (): Exports[] => {
    if (known !== undefined) return known
    known = given.map((path) => read(path))
    names.push(...given.map((path) => basename(path)))
    for (const dll of base.needed) {
      const path = locate(dll, base)
      ;(path === undefined ? missing : names).push(dll)
      if (path !== undefined) known.push(read(path, dll))
    }
    return known
  }
  return {
    find: (name) =>
      libraries()
        .map((exports) => exports.get(name))
        .find((found) => found !== undefined),
    get searched() {
      libraries()
      const none = names.length === 0 ? 'no library was looked into' : `not in ${names.join(', ')}`
      return missing.length === 0 ? none : `${none}; no import library on this machine for ${missing.join(', ')}`
    },
  }
}

function locate(dll: string, { path }: BaseImage): string | undefined {
  const stem = basename(dll, extname(dll))
  const files = [stem, stem.toLowerCase()].flatMap((s) => [`lib${s}.dll.a`, `lib${s}.a`, `${s}.dll.a`, `${s}.lib`])
  const beside = [dll, ...files].map((file) => join(dirname(path), file))
  return [...beside, ...SYSTEM_FOLDERS.flatMap((folder) => files.map((file) => join(folder, file)))].find((file) => existsSync(file))
}

/** @param only the one DLL of which the library's names are taken */
function read(path: string, only?: string): Exports {
  const data = readInput(path)
  switch (inputFormat(data)) {
    case 'archive':
      return fromImportLibrary(data, only)
    case 'pe-image':
      return fromDll(data, basename(path))
    default:
      throw new HotpatchError('FORMAT_UNKNOWN', `${path} is neither an import library nor a DLL`)
  }
}

function fromImportLibrary(data: Uint8Array, only: string | undefined): Exports {
  const found = new Map<string, NewImport>()
  for (const { symbol, library, name, ordinal, kind } of readImportLibrary(data).values())
    if (only === undefined || library.toLowerCase() === only.toLowerCase())
      found.set(symbol, { name: name ?? `#${ordinal}`, library, version: undefined, kind })
  return found
}

function fromDll(data: Uint8Array, file: string): Exports {
  const image = readPe(data)
  const table = readExports(image)
  const found = new Map<string, NewImport>()
  const isCode = (rva: number): boolean =>
    image.sections.some((s) => rva >= s.rva && rva < s.rva + s.size && (s.characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0)
  for (const { name, rva, forwarder } of table?.exports ?? [])
    if (name !== undefined)
      found.set(name, { name, library: file, version: undefined, kind: forwarder !== undefined || isCode(rva) ? 'function' : 'data' })
  return found
}
