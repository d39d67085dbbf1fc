/** CodeReading.mayAddress: ARM64. Code makes the address of what lies in its own module by ADR, or by ADRP and an ADD, which may lie anywhere. */
import { decodeWord, INSTRUCTION_SIZE, wordAt } from './instructions.ts'

const PAGE = 4096

export function mayAddress(code: Uint8Array, start: number, places: ReadonlySet<number>): Set<number> {
  const found = new Set<number>()
  const pages = new Set<number>()
  // Nothing is added to the start of a page.
  const rests = new Set<number>([0])
  for (let at = 0; at + INSTRUCTION_SIZE <= code.length; at += INSTRUCTION_SIZE) {
    const word = wordAt(code, at)
    const { form, distance = 0 } = decodeWord(word)
    const place = start + at
    if (form === 'adrp') pages.add(place - (place % PAGE) + distance)
    else if (form === 'adr') {
      if (places.has(place + distance)) found.add(place + distance)
      pages.add(place + distance)
    } else if (form === 'add') rests.add((word >>> 10) & 0xfff)
  }
  for (const place of places) if (pages.has(place - (place % PAGE)) && rests.has(place % PAGE)) found.add(place)
  return found
}
