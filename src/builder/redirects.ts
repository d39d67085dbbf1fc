/** How functions of a base image can be redirected, from what lies around them there. */

import { architectureOf } from '../machine/architectures.ts'
import type { RedirectPlan, RedirectRefusal, Surroundings } from '../machine/redirect.ts'
import type { BaseImage, BaseSymbol } from './base-image.ts'
import { sectionAt } from './passes/prove.ts'

/** A function of the base image as its symbol table has it. */
export interface FunctionSite {
  readonly symbol: BaseSymbol
  /** Bytes right before it that belong to no function, and that none runs into. */
  readonly padding: number
}

const BYTES_BEFORE = 32
const PAGE = 4096

/** Symbols in code, by ascending RVA. */
function codeSymbols(base: BaseImage): BaseSymbol[] {
  const code = base.sections.filter((s) => s.kind === 'code')
  return base.symbols.filter((s) => code.some((c) => s.rva >= c.rva && s.rva < c.rva + c.size)).sort((a, b) => a.rva - b.rva)
}

/** `rva`'s section's bytes before it, the nearest last. */
export function bytesBefore(base: BaseImage, rva: number): Uint8Array {
  const section = sectionAt(base, rva)
  const count = Math.min(BYTES_BEFORE, rva - (section?.rva ?? rva))
  return base.bytes(rva - count, count) ?? new Uint8Array(0)
}

/** What RedirectSite can read of the image that has a function at `rva`. */
export const surroundingsOf = (base: BaseImage, rva: number): Surroundings => ({
  inPage: rva % PAGE,
  read: (offset, length) => base.bytes(rva + offset, length),
})

/** Bytes before an RVA that belong to no function: the gap behind the functions before it, where the last of them does not run into it. */
export function gapsOf(base: BaseImage): (rva: number) => number {
  const symbols = codeSymbols(base)
  /** Of the symbols up to each one: where the last of them ends, and which begins last. */
  const ends: number[] = []
  const nearest: BaseSymbol[] = []
  for (const symbol of symbols) {
    const last = nearest.at(-1)
    ends.push(Math.max(ends.at(-1) ?? 0, symbol.rva + symbol.size))
    nearest.push(last === undefined || symbol.rva > last.rva || symbol.size > last.size ? symbol : last)
  }
  return (rva) => {
    let low = 0
    let high = symbols.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((symbols[middle] as BaseSymbol).rva < rva) low = middle + 1
      else high = middle
    }
    return gapBehind(base, nearest[low - 1], ends[low - 1] ?? 0, rva)
  }
}

function gapBehind(base: BaseImage, nearest: BaseSymbol | undefined, end: number, rva: number): number {
  if (nearest === undefined || nearest.size === 0 || end > rva) return 0
  const code = base.bytes(nearest.rva, nearest.size)
  return code === undefined || architectureOf(base.machine).code.fallsThrough(code) ? 0 : rva - end
}

/** Every function that the symbol table gives a size, by ascending RVA, each once. */
export function functionSites(base: BaseImage): FunctionSite[] {
  const sites: FunctionSite[] = []
  let end = 0
  let nearest: BaseSymbol | undefined
  for (const symbol of codeSymbols(base)) {
    const last = sites.at(-1)?.symbol
    if (symbol.kind === 'function' && symbol.size > 0 && symbol.rva !== last?.rva)
      sites.push({ symbol, padding: gapBehind(base, nearest, end, symbol.rva) })
    if (nearest === undefined || symbol.rva > nearest.rva || symbol.size > nearest.size) nearest = symbol
    end = Math.max(end, symbol.rva + symbol.size)
  }
  return sites
}

/** As far as the image alone tells: jump tables into the first bytes are known from objects only. */
export function planSite(base: BaseImage, { symbol, padding }: FunctionSite): RedirectPlan | RedirectRefusal {
  const code = base.bytes(symbol.rva, symbol.size)
  if (code === undefined) return { refused: 'UNDECODABLE', why: 'does not lie in the file' }
  const { rva, size } = symbol
  const around = surroundingsOf(base, rva)
  return architectureOf(base.machine).redirects.plan({ before: bytesBefore(base, rva), padding, code, size, around })
}
