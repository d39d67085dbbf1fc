/** What a PDB says of its image's symbols, under the linker's names. */

import type { Pdb } from '../../binary/pdb/reader.ts'
import type { PdbSymbol } from '../../binary/pdb/records.ts'
import type { PeImage } from '../../binary/pe/reader.ts'
import type { BaseSymbol } from '../base-image.ts'
import { type FoundSymbol, isCodeAt } from './symbols.ts'

const KINDS: Readonly<Record<PdbSymbol['kind'], BaseSymbol['kind'] | undefined>> = {
  function: 'function',
  data: 'object',
  // As the COFF symbol table of an image has it.
  'thread-local': 'object',
  unknown: undefined,
}

/**
 * Public symbols for what other objects see: they alone have the linker's names there. Statics come from their modules, which know the
 * source file. Sizes are the procedures'. Throws TRUNCATED, MALFORMED.
 */
export function symbolsOfPdb(pdb: Pdb, image: PeImage): FoundSymbol[] {
  const rvaOf = ({ segment, offset }: PdbSymbol): number | undefined => {
    const section = image.sections[segment - 1]
    return section === undefined || offset >= section.size ? undefined : section.rva + offset
  }
  const modules = pdb.modules()
  const sizes = new Map<number, number>()
  for (const { symbols } of modules)
    for (const symbol of symbols) {
      const rva = rvaOf(symbol)
      if (rva !== undefined && symbol.size > 0) sizes.set(rva, symbol.size)
    }
  const found: FoundSymbol[] = []
  const add = (symbol: PdbSymbol, file: string | undefined): void => {
    const rva = rvaOf(symbol)
    if (rva === undefined || symbol.name === '') return
    found.push({
      name: symbol.name,
      rva,
      size: sizes.get(rva) ?? 0,
      kind: KINDS[symbol.kind] ?? (isCodeAt(image, rva) ? 'function' : 'object'),
      binding: symbol.scope === 'local' ? 'local' : 'global',
      file,
      exported: false,
    })
  }
  for (const symbol of pdb.globals()) if (symbol.scope === 'public') add(symbol, undefined)
  for (const { symbols, sourceFile } of modules) for (const symbol of symbols) if (symbol.scope === 'local') add(symbol, sourceFile)
  return found
}
