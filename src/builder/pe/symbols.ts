/** The symbols of a linked PE image: from the COFF symbol table, the export directory and the exception directory. */
import { IMAGE_SCN, IMAGE_SYM, IMAGE_SYM_CLASS } from '../../binary/coff/definitions.ts'
import { type CoffSymbol, isFunctionSymbol } from '../../binary/coff/symbols.ts'
import { readExports } from '../../binary/pe/directories.ts'
import { functionExtents } from '../../binary/pe/function-extents.ts'
import { type PeImage, readImageSymbols } from '../../binary/pe/reader.ts'
import type { BaseSymbol } from '../base-image.ts'

export interface FoundSymbol {
  readonly name: string
  readonly rva: number
  /** Bytes; 0 or undefined where the source does not say. */
  readonly size?: number
  readonly kind: BaseSymbol['kind']
  readonly binding: BaseSymbol['binding']
  file: string | undefined
  exported: boolean
}

/** What was found in a symbol table or a file beside the image, with what the image itself says: what it exports, sizes of functions. */
export function imageSymbols(image: PeImage, given: readonly FoundSymbol[]): BaseSymbol[] {
  const sizes = new Map(functionExtents(image).map(({ begin, size }) => [begin, size]))
  const found = [...given]
  const byName = new Map<string, FoundSymbol>()
  for (const symbol of found) if (symbol.binding !== 'local') byName.set(symbol.name, symbol)
  for (const { name, rva } of readExports(image)?.exports ?? []) {
    if (name === undefined || rva === 0) continue
    const known = byName.get(name)
    if (known !== undefined && known.rva === rva) known.exported = true
    else found.push({ name, rva, kind: isCodeAt(image, rva) ? 'function' : 'object', binding: 'global', file: undefined, exported: true })
  }
  return found.map((symbol) => ({ ...symbol, size: symbol.size || (sizes.get(symbol.rva) ?? 0) })).sort((a, b) => a.rva - b.rva)
}

export const isCodeAt = (image: PeImage, rva: number): boolean =>
  image.sections.some(
    (section) => rva >= section.rva && rva < section.rva + section.size && (section.characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0,
  )

const isSectionSymbol = (symbol: CoffSymbol): boolean => symbol.storageClass === IMAGE_SYM_CLASS.STATIC && symbol.aux?.kind === 'section'

/** `table`: the COFF symbol table, where another file has it. */
export function symbolsOfTable(image: PeImage, table: readonly CoffSymbol[] = readImageSymbols(image)): FoundSymbol[] {
  const files = new SourceFiles()
  const weakName = weakNames(table)
  const found: FoundSymbol[] = []
  const seen = new Set<string>()
  const lastSection = table.findLastIndex(isSectionSymbol)
  for (const [i, symbol] of table.entries()) {
    if (symbol.storageClass === IMAGE_SYM_CLASS.FILE) files.file(symbol, i > lastSection ? undefined : table[i + 1])
    else if (isSectionSymbol(symbol)) files.section(symbol)
    const made = toFound(image, symbol, weakName)
    if (made === undefined) continue
    if (made.binding === 'local') files.local(made)
    else {
      // Lld repeats the defaults of weak symbols.
      const key = `${made.rva}:${made.name}`
      if (seen.has(key)) continue
      seen.add(key)
    }
    found.push(made)
  }
  return found
}

function toFound(image: PeImage, symbol: CoffSymbol, weakName: (name: string) => string | undefined): FoundSymbol | undefined {
  const section = image.sections[symbol.sectionNumber - 1]
  if (section === undefined || isSectionSymbol(symbol) || symbol.name === '') return undefined
  const { storageClass } = symbol
  const isLocal = storageClass === IMAGE_SYM_CLASS.STATIC
  if (!isLocal && storageClass !== IMAGE_SYM_CLASS.EXTERNAL && storageClass !== IMAGE_SYM_CLASS.WEAK_EXTERNAL) return undefined
  const weak = weakName(symbol.name)
  const inCode = (section.characteristics & IMAGE_SCN.MEM_EXECUTE) !== 0
  return {
    name: weak ?? symbol.name,
    // Linkers write values relative to the section here, not addresses.
    rva: section.rva + symbol.value,
    kind: isFunctionSymbol(symbol) || (inCode && !isLocal) ? 'function' : inCode ? 'none' : 'object',
    binding: isLocal ? 'local' : weak !== undefined || storageClass === IMAGE_SYM_CLASS.WEAK_EXTERNAL ? 'weak' : 'global',
    file: undefined,
    exported: false,
  }
}

/**
 * Weak functions are defined as `.weak.NAME.default.OTHER` (clang) or `.weak.NAME.OTHER` (gas), OTHER being any name. Ld leaves
 * NAME as an undefined symbol in the table, lld nothing.
 */
function weakNames(table: readonly CoffSymbol[]): (name: string) => string | undefined {
  const open = new Set<string>()
  for (const symbol of table)
    if (symbol.sectionNumber === IMAGE_SYM.UNDEFINED && symbol.storageClass !== IMAGE_SYM_CLASS.FILE) open.add(symbol.name)
  return (name) => {
    if (!name.startsWith('.weak.')) return undefined
    const marked = name.indexOf('.default.', 6)
    if (marked > 6) return name.slice(6, marked)
    for (let end = name.lastIndexOf('.'); end > 6; end = name.lastIndexOf('.', end - 1))
      if (open.has(name.slice(6, end))) return name.slice(6, end)
    return undefined
  }
}

/**
 * Which object a local symbol came from. Ld writes the objects' tables one after the other. Those of gas begin with .file, those
 * of clang end with it and begin with the symbol of the section .text, which gas has further behind. Where that leaves a doubt,
 * no file is named.
 */
class SourceFiles {
  #leading: string | undefined
  #textSeen = false
  /** Locals since the last object began that no leading .file claims. */
  #pending: FoundSymbol[] = []

  /** `next` is undefined where no object's own symbols follow. */
  file(symbol: CoffSymbol, next: CoffSymbol | undefined): void {
    const name = symbol.aux?.kind === 'file' ? symbol.aux.name : undefined
    const trailing = next === undefined || next.storageClass === IMAGE_SYM_CLASS.FILE || (isSectionSymbol(next) && next.name === '.text')
    if (trailing) for (const local of this.#pending) local.file = name
    this.#leading = trailing ? undefined : name
    this.#textSeen = false
    this.#pending = []
  }

  section(symbol: CoffSymbol): void {
    if (symbol.name !== '.text') return
    if (this.#leading !== undefined && !this.#textSeen) {
      this.#textSeen = true
      return
    }
    this.#leading = undefined
    this.#pending = []
  }

  local(symbol: FoundSymbol): void {
    symbol.file = this.#leading
    if (this.#leading === undefined) this.#pending.push(symbol)
  }
}
