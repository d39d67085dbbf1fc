/**
 * What a linked PE image says about its thread-local data (PE format, ".tls Section"). On x64 a thread finds its block of a module at
 * `gs:[58h][_tls_index]`, and a variable in it by a SECREL relocation: its distance from the start of the image's section `.tls`.
 */
import { readTlsDirectory } from '../../binary/pe/directories.ts'
import type { PeImage } from '../../binary/pe/reader.ts'
import type { BaseSymbol, ThreadLocalData } from '../base-image.ts'

/** undefined: it has none, or its blocks are not copies of a whole section, which is what SECREL counts on. */
export function threadLocalData(image: PeImage): ThreadLocalData | undefined {
  const directory = readTlsDirectory(image)
  if (directory === undefined) return undefined
  const rva = Number(directory.StartAddressOfRawData - image.optionalHeader.ImageBase)
  const section = image.sections.find((s) => s.rva === rva && s.name === '.tls')
  return section === undefined ? undefined : { rva, fromThreadPointer: undefined, slots: [] }
}

const INDEX = '_tls_index'

/** `symbols` with the module's number where the loader puts it: a symbol table may lack it, and is not what the loader reads. */
export function withLoadersIndex(symbols: readonly BaseSymbol[], image: PeImage): readonly BaseSymbol[] {
  const directory = readTlsDirectory(image)
  if (directory === undefined) return symbols
  const rva = Number(directory.AddressOfIndex - image.optionalHeader.ImageBase)
  const index: BaseSymbol = { name: INDEX, rva, size: 4, kind: 'object', binding: 'global', file: undefined, exported: false }
  return [...symbols.filter((s) => s.name !== INDEX || s.binding === 'local'), index].sort((a, b) => a.rva - b.rva)
}
