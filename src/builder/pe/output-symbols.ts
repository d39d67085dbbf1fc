/** The symbols of a patch image: what it exports, and every name for debuggers and objdump. */
import type { NewSymbol } from '../../binary/coff/writer.ts'
import type { NewExport, NewSection } from '../../binary/pe/writer.ts'
import { CALLOUT } from '../../patch/definitions.ts'
import type { Block } from '../graph.ts'
import type { PatchPlan } from '../plan.ts'

/** The patched functions, for tools that name addresses by exports alone, and the callout. Each name once: statics may share one. */
export function exportsOf({ blocks, functions }: PatchPlan, rvaOf: (block: Block) => number): NewExport[] {
  const exports = new Map<string, number>()
  for (const block of blocks)
    for (const symbol of block.symbols)
      if (symbol.name === CALLOUT && symbol.binding !== 'local') exports.set(CALLOUT, rvaOf(block) + symbol.offset)
  for (const { name, block, entry } of functions) if (!exports.has(name)) exports.set(name, rvaOf(block) + entry)
  return [...exports].map(([name, rva]) => ({ name, rva }))
}

/** Functions and named data, by address. */
export function symbolsOf(rvas: ReadonlyMap<Block, number>, sections: readonly NewSection[]): NewSymbol[] {
  const symbols: (NewSymbol & { readonly rva: number })[] = []
  for (const [block, start] of rvas) {
    const section = sections.findIndex((each) => start >= each.rva && start < each.rva + each.size)
    if (block.kind === 'unwind' || section < 0) continue
    for (const symbol of block.symbols) {
      if (symbol.kind === 'section' || symbol.kind === 'none' || symbol.name === '') continue
      const rva = start + symbol.offset
      symbols.push({
        rva,
        name: symbol.name,
        section: section + 1,
        value: rva - (sections[section] as NewSection).rva,
        isFunction: block.kind === 'code',
        isGlobal: symbol.binding !== 'local',
      })
    }
  }
  return symbols.sort((a, b) => a.rva - b.rva)
}
