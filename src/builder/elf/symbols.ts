/** The symbols of a linked ELF image: .symtab, and what only .dynsym has. */
import { PT, STB, STT, STV } from '../../binary/elf/definitions.ts'
import type { ElfFile } from '../../binary/elf/reader.ts'
import type { ElfSymbol } from '../../binary/elf/symbols.ts'
import type { BaseSymbol } from '../base-image.ts'
import type { ElfMachine } from './machines.ts'

const KINDS: Readonly<Record<number, BaseSymbol['kind']>> = {
  [STT.FUNC]: 'function',
  [STT.OBJECT]: 'object',
  [STT.COMMON]: 'object',
  [STT.TLS]: 'tls',
  [STT.GNU_IFUNC]: 'ifunc',
  [STT.NOTYPE]: 'none',
}

const isDefined = ({ place, type, name }: ElfSymbol): boolean => place === 'section' && KINDS[type] !== undefined && name !== ''

const isVisible = ({ visibility, binding }: ElfSymbol): boolean =>
  binding !== STB.LOCAL && (visibility === STV.DEFAULT || visibility === STV.PROTECTED)

const bindingOf = ({ binding }: ElfSymbol): BaseSymbol['binding'] =>
  binding === STB.LOCAL ? 'local' : binding === STB.WEAK ? 'weak' : 'global'

/**
 * Names have no default version (`f@@V1` is f); one that is not the default stays (`f@V0`), for several may have one name. A
 * variable that the program copied from a library (R_*_COPY) has no version: it is the program's now.
 * `table`: the symbol table, where another file has it.
 */
export function imageSymbols(elf: ElfFile, floor: bigint, machine: ElfMachine, table: readonly ElfSymbol[] = elf.symbols()): BaseSymbol[] {
  const tls = elf.segments.find((s) => s.type === PT.TLS)?.vaddr ?? floor
  const rvaOf = ({ type, value }: ElfSymbol): number => Number((type === STT.TLS ? tls : 0n) + value - floor)
  const copies = new Set<number>()
  for (const { type, offset } of elf.dynamicRelocations().ordinary) if (type === machine.copy) copies.add(offset - Number(floor))

  const isMapping = ({ name, type }: ElfSymbol): boolean => type === STT.NOTYPE && machine.isMapping(name)
  const dynamic = elf.dynamicSymbols().filter(isDefined)
  const versions = dynamic.length > 0 ? elf.versions() : () => undefined
  const dynamicName = (symbol: ElfSymbol): string => {
    const version = versions(symbol.index)
    return version?.hidden && !copies.has(rvaOf(symbol)) ? `${symbol.name}@${version.name}` : symbol.name
  }
  const exported = new Map<string, number>()
  for (const symbol of dynamic) if (isVisible(symbol)) exported.set(dynamicName(symbol), rvaOf(symbol))

  const symbols: BaseSymbol[] = []
  const seen = new Set<string>()
  const add = (symbol: ElfSymbol, name: string): void => {
    const rva = rvaOf(symbol)
    if (rva < 0) return
    if (symbol.binding !== STB.LOCAL) {
      if (seen.has(name)) return
      seen.add(name)
    }
    symbols.push({
      name,
      rva,
      size: symbol.size,
      kind: KINDS[symbol.type] ?? 'none',
      binding: bindingOf(symbol),
      file: symbol.file,
      exported: symbol.binding !== STB.LOCAL && exported.get(name) === rva,
    })
  }
  for (const symbol of table) if (isDefined(symbol) && !isMapping(symbol)) add(symbol, staticName(symbol, copies.has(rvaOf(symbol))))
  for (const symbol of dynamic) add(symbol, dynamicName(symbol))
  return symbols
}

/** .symtab has versions in the names themselves. */
function staticName({ name, binding }: ElfSymbol, isCopy: boolean): string {
  if (binding === STB.LOCAL) return name
  const at = name.indexOf('@')
  return at > 0 && (isCopy || name[at + 1] === '@') ? name.slice(0, at) : name
}
