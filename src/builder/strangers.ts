/** Files that a person gave for symbols and that no base image has as its own: they may have types of the objects of either build. */
import { isMsf } from '../binary/pdb/msf.ts'
import { HotpatchError } from '../errors.ts'
import { isFolder, readInput } from '../files.ts'
import type { Program } from './program.ts'
import type { SymbolFile } from './symbol-source.ts'

export interface Stranger {
  readonly file: SymbolFile
  /** Why it is not of each base image: half-sentences. */
  readonly whys: readonly string[]
}

/** The files among what was given for symbols. Throws FILE_UNREADABLE. */
export const symbolFilesAmong = (symbols: readonly string[]): SymbolFile[] =>
  symbols.filter((path) => !isFolder(path)).map((path) => ({ path, data: readInput(path) }))

/** Only a PDB can have types of objects. Throws SYMBOLS_MISMATCH where one has none of any of the programs. */
export function refuseStrangers(strangers: readonly Stranger[], programs: readonly Program[]): void {
  for (const { file, whys } of strangers) {
    const refusals = programs.map((program) => (isMsf(file.data) ? program.refusalOfTypes(file) : 'it is no PDB'))
    if (refusals.includes(undefined)) continue
    const images = whys.map((why) => `is not of ${why}`)
    const objects = [...new Set(refusals)].map((why) => `has no types of the objects (${why})`)
    throw new HotpatchError('SYMBOLS_MISMATCH', `${file.path} ${[...images, ...objects].join('; it ')}`)
  }
}
