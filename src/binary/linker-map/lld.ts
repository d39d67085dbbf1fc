/** Lld's `-Map` for ELF, and for PE (`-lldmap`, which is what its mingw driver's `-Map` writes). */
import type { LinkerMap, MapSection, MapSymbol } from './definitions.ts'

const ELF_HEADER = /^\s*VMA\s+LMA\s+Size Align Out\s+In\s+Symbol$/m
const PE_HEADER = /^Address\s+Size\s+Align Out\s+In\s+Symbol$/m
/** Address, size and what follows the alignment. Out begins in the first column there, In 8 further, Symbol 16 further. */
const ELF_LINE = /^ *([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+) +\d+ (.*)$/
const PE_LINE = /^([0-9a-f]{8}) ([0-9a-f]{8}) +\d+ (.*)$/

export function lldMap(text: string): LinkerMap | undefined {
  const pe = PE_HEADER.test(text)
  if (!pe && !ELF_HEADER.test(text)) return undefined
  const sections: MapSection[] = []
  const symbols = new Map<string, MapSymbol>()
  for (const line of text.split('\n')) {
    const match = (pe ? PE_LINE : ELF_LINE).exec(line)
    if (match === null) continue
    const address = Number.parseInt(match[1] as string, 16)
    const size = Number.parseInt(match[2] as string, 16)
    const rest = match[3] as string
    const name = rest.trim()
    const column = rest.length - rest.trimStart().length
    if (column === 0) sections.push({ name, address, size })
    else if (column >= 16 && /^\S+$/.test(name)) symbols.set(`${match[1]} ${name}`, { name, address, size, binding: 'unknown' })
  }
  return {
    kind: pe ? 'lld-pe' : 'lld',
    addresses: pe ? 'image' : 'absolute',
    sections,
    symbols: [...symbols.values()],
    hasStatics: true,
    timestamp: undefined,
    imageBase: undefined,
  }
}
