import { readFileSync } from 'node:fs'
import type { RedirectSite } from '../../redirect.ts'

export interface ListedFunction extends RedirectSite {
  /** Of the entry, from the start of the text. */
  readonly offset: number
}

/**
 * A function out of a listing that fixtures/make.sh wrote: its bytes from objdump, its extent and that of its neighbour from nm. COFF
 * symbols have no sizes: there an instruction that nm's next symbol cuts off from the code, and nops before it, are padding.
 */
export function listedFunction(fixture: string, name: string): ListedFunction {
  const lines = readFileSync(new URL(`../fixtures/${fixture}.txt`, import.meta.url), 'utf8').split('\n')
  const symbols = lines.flatMap((line) => {
    const match = /^([0-9a-f]{16})(?: ([0-9a-f]{16}))? [tT] ([^.].*)$/.exec(line)
    return match ? [{ at: Number.parseInt(match[1] as string, 16), size: Number.parseInt(match[2] ?? '0', 16), name: match[3] }] : []
  })
  const instructions = lines.flatMap((line) => {
    const match = /^ +([0-9a-f]+):\t([0-9a-f ]+?) *\t(.*)$/.exec(line)
    if (match === null) return []
    const bytes = Buffer.from((match[2] as string).replaceAll(' ', ''), 'hex')
    return [{ at: Number.parseInt(match[1] as string, 16), bytes, filler: /\bnop|xchg +ax,ax|int3|data16/.test(match[3] as string) }]
  })
  const text = Uint8Array.from(Buffer.concat(instructions.map((i) => i.bytes)))

  const index = symbols.findIndex((s) => s.name === name)
  const symbol = symbols[index]
  if (symbol === undefined) throw new Error(`${fixture} has no function ${name}`)
  const endOf = (n: number): number => {
    const { at, size } = symbols[n] as { at: number; size: number }
    if (size > 0) return at + size
    const limit = symbols[n + 1]?.at ?? text.length
    const last = instructions.findLast((i) => i.at >= at && i.at < limit && !i.filler)
    return last === undefined ? limit : last.at + last.bytes.length
  }
  const size = endOf(index) - symbol.at
  const padding = symbol.at - (index === 0 ? 0 : endOf(index - 1))
  return {
    offset: symbol.at,
    before: text.subarray(Math.max(0, symbol.at - 32), symbol.at),
    padding,
    code: text.subarray(symbol.at),
    size,
  }
}
