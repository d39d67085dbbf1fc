/** The `/map` of Microsoft's link.exe and of lld-link: publics, then statics, by section and offset. */
import type { LinkerMap, MapSymbol } from './definitions.ts'

const HEADER = /^ Preferred load address is ([0-9a-fA-F]+)/m
const TIMESTAMP = /^ Timestamp is ([0-9a-fA-F]+)/m
const STATICS = /^ Static symbols$/m
/** Section and offset, name, Rva+Base, and what follows. Section 0 is for absolute symbols. */
const SYMBOL = /^ ([0-9a-fA-F]{4}):[0-9a-fA-F]{8} +(\S+) +([0-9a-fA-F]{8,16}) /

export function msvcMap(text: string): LinkerMap | undefined {
  const header = HEADER.exec(text)
  if (header === null) return undefined
  const statics = STATICS.exec(text)?.index ?? text.length
  const symbols: MapSymbol[] = []
  let at = 0
  for (const line of text.split('\n')) {
    const match = SYMBOL.exec(line)
    if (match !== null && Number.parseInt(match[1] as string, 16) !== 0)
      symbols.push({
        name: match[2] as string,
        address: Number.parseInt(match[3] as string, 16),
        size: 0,
        binding: at > statics ? 'local' : 'global',
      })
    at += line.length + 1
  }
  const stamp = Number.parseInt(TIMESTAMP.exec(text)?.[1] ?? '0', 16)
  return {
    kind: 'msvc',
    addresses: 'absolute',
    sections: [],
    symbols,
    hasStatics: true,
    timestamp: stamp === 0 ? undefined : stamp,
    imageBase: Number.parseInt(header[1] as string, 16),
  }
}
