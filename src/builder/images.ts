/** Which base reader and back end is for which image, and where an image's symbols are looked for. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { HotpatchError } from '../errors.ts'
import { isFolder, readInput } from '../files.ts'
import type { BaseImage } from './base-image.ts'
import { readElfBase } from './elf/base.ts'
import { elfLibraries } from './elf/libraries.ts'
import { elfSymbolFiles } from './elf/separate-symbols.ts'
import { writeElfPatch } from './elf/writer.ts'
import { inputFormat } from './formats.ts'
import type { Libraries } from './libraries.ts'
import { readPeBase } from './pe/base.ts'
import { peLibraries } from './pe/libraries.ts'
import { peSymbolFiles } from './pe/separate-symbols.ts'
import { writePePatch } from './pe/writer.ts'
import type { PatchPlan } from './plan.ts'
import { type Stranger, symbolFilesAmong } from './strangers.ts'
import type { SeparateSymbols, SymbolFile, SymbolSource } from './symbol-source.ts'

const READERS = {
  'elf-image': { base: readElfBase, symbolFiles: elfSymbolFiles },
  'pe-image': { base: readPeBase, symbolFiles: peSymbolFiles },
} as const

/** Throws FILE_UNREADABLE, FORMAT_UNKNOWN and what the readers throw. */
export const readBase = (path: string): BaseImage => readBases([path], []).bases[0] as BaseImage

export interface BaseImages {
  /** In the order given. */
  readonly bases: readonly BaseImage[]
  /** Symbols that are there and cannot be used, in words. */
  readonly notes: readonly string[]
  /** Files given that are none of these images': they may have types of the objects. */
  readonly strangers: readonly Stranger[]
}

/**
 * Base images with their symbols: from `symbols`, files and folders that a person gave; for a stripped image without one there, from where the
 * system and the linker put them; else the image's own. Throws FILE_UNREADABLE, FORMAT_UNKNOWN and what the readers throw.
 */
export function readBases(paths: readonly string[], symbols: readonly string[]): BaseImages {
  const notes: string[] = []
  const folders = symbols.filter(isFolder)
  const files = symbolFilesAmong(symbols)
  const refusals = new Map<SymbolFile, string[]>(files.map((file) => [file, []]))
  const bases = paths.map((path) => {
    const data = readInput(path)
    const format = inputFormat(data)
    if (format !== 'elf-image' && format !== 'pe-image')
      throw new HotpatchError('FORMAT_UNKNOWN', `${path} is no linked program or library`)
    const separate = READERS[format].symbolFiles(data, path)
    let source: SymbolSource | undefined
    for (const file of files) {
      const read = separate.read(file)
      if ('why' in read) refusals.get(file)?.push(`${path}: ${read.why}`)
      else {
        refusals.delete(file)
        source ??= read
      }
    }
    source ??= search(
      separate,
      folders.flatMap((folder) => separate.names.map((name) => join(folder, name))),
      notes,
    )
    if (source !== undefined) return READERS[format].base(data, path, source)
    const base = READERS[format].base(data, path)
    // It names what other modules do not see: so it was not stripped.
    if (base.lacks('', true)) return base
    source = search(separate, separate.places, notes)
    source ??= embedded(separate, path, notes)
    return source === undefined ? base : READERS[format].base(data, path, source)
  })
  return { bases, notes, strangers: [...refusals].map(([file, whys]) => ({ file, whys })) }
}

/** The first of the files that there is and that is the image's. What is damaged or another's is passed over with a note. */
function search(separate: SeparateSymbols, places: readonly string[], notes: string[]): SymbolSource | undefined {
  for (const path of places) {
    if (!existsSync(path)) continue
    try {
      const read = separate.read({ path, data: readInput(path) })
      if (!('why' in read)) return read
      notes.push(`${path} has no symbols for this image: ${read.why}`)
    } catch (error) {
      if (!(error instanceof HotpatchError)) throw error
      notes.push(`${path} cannot be read: ${error.detail}`)
    }
  }
  return undefined
}

function embedded(separate: SeparateSymbols, path: string, notes: string[]): SymbolSource | undefined {
  try {
    return separate.embedded()
  } catch (error) {
    if (!(error instanceof HotpatchError)) throw error
    notes.push(`the compressed symbol table in ${path} cannot be read: ${error.detail}`)
    return undefined
  }
}

/** @param given paths of libraries beyond those that the base image asks for */
export const librariesFor = (base: BaseImage, given: readonly string[]): Libraries =>
  base.format === 'pe' ? peLibraries(base, given) : elfLibraries(base, given)

export const writePatch = (plan: PatchPlan): Uint8Array => (plan.base.format === 'pe' ? writePePatch(plan) : writeElfPatch(plan))
