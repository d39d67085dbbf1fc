/** The symbols of a patch image: every name for debuggers, the global ones for loaders. */
import { STB, STT, STV } from '../../binary/elf/definitions.ts'
import type { OutputSymbol } from '../../binary/elf/tables.ts'
import type { Block, GraphSymbol } from '../graph.ts'
import type { PatchPlan } from '../plan.ts'

export interface ImageSymbol {
  readonly symbol: GraphSymbol
  readonly block: Block
  readonly name: string
  /** STB. */
  readonly binding: number
}

const TYPES: Readonly<Record<GraphSymbol['kind'], number>> = {
  function: STT.FUNC,
  object: STT.OBJECT,
  tls: STT.TLS,
  ifunc: STT.GNU_IFUNC,
  section: STT.SECTION,
  none: STT.NOTYPE,
}

const BINDINGS: Readonly<Record<GraphSymbol['binding'], number>> = { local: STB.LOCAL, global: STB.GLOBAL, weak: STB.WEAK }

const isNamed = ({ kind, name }: GraphSymbol): boolean => kind !== 'section' && name !== '' && !name.startsWith('.L')

function* namedSymbols(plan: PatchPlan): Generator<ImageSymbol> {
  for (const block of plan.blocks) {
    if (block.kind === 'unwind') continue
    for (const symbol of block.symbols)
      if (isNamed(symbol)) yield { symbol, block, name: symbol.name, binding: symbol.hidden ? STB.LOCAL : BINDINGS[symbol.binding] }
  }
}

/** For .symtab: all, local ones first. */
export function staticSymbols(plan: PatchPlan): ImageSymbol[] {
  const all = [...namedSymbols(plan)]
  return [...all.filter((s) => s.binding === STB.LOCAL), ...all.filter((s) => s.binding !== STB.LOCAL)]
}

/** For .dynsym: global functions and data, each name once. */
export function exportedSymbols(plan: PatchPlan): ImageSymbol[] {
  const byName = new Map<string, ImageSymbol>()
  for (const symbol of namedSymbols(plan)) {
    const { kind } = symbol.symbol
    if (symbol.binding !== STB.LOCAL && (kind === 'function' || kind === 'object') && !byName.has(symbol.name))
      byName.set(symbol.name, symbol)
  }
  return [...byName.values()]
}

export interface SymbolPlaces {
  /** Index of the section that holds the block. */
  section(block: Block): number
  /** What a symbol for the block's start has: its RVA; of a thread-local one the offset in the image's thread-local block (gABI, "Symbol Table"). */
  value(block: Block): number
}

/** Protected: what the patch image defines is never taken from elsewhere. */
export const toOutputSymbol = ({ symbol, block, name, binding }: ImageSymbol, places: SymbolPlaces): OutputSymbol => ({
  name,
  binding,
  type: TYPES[symbol.kind],
  visibility: binding === STB.LOCAL ? STV.DEFAULT : STV.PROTECTED,
  section: places.section(block),
  value: places.value(block) + symbol.offset,
  size: symbol.size,
})
