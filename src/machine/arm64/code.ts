/** What the builder asks of ARM64 code. Literal pools and jump tables in it are looked at as if they were instructions, which is only too careful. */
import type { OutwardReference } from '../architecture.ts'
import type { EdgeKind } from '../edges.ts'
import { decodeWord, type Form, INSTRUCTION_SIZE, isNop, wordAt } from './instructions.ts'

const words = (code: Uint8Array): number[] =>
  Array.from({ length: Math.floor(code.length / INSTRUCTION_SIZE) }, (_, i) => wordAt(code, i * INSTRUCTION_SIZE))

const isFiller = (word: number): boolean => isNop(word) || word === 0 || decodeWord(word).flow === 'trap'

/** Whether execution may run out of the code's end. A call at the end is to a function that does not return. */
export function fallsThrough(code: Uint8Array): boolean {
  if (code.length % INSTRUCTION_SIZE !== 0) return true
  const all = words(code)
  const last = all.findLast((word) => !isFiller(word))
  if (last === undefined) return !all.some((word) => decodeWord(word).flow === 'trap')
  const { flow } = decodeWord(last)
  return flow === 'next' || flow === 'branch' || flow === 'system-call'
}

export const isPadding = (code: Uint8Array): boolean =>
  code.every((byte) => byte === 0) || (code.length % INSTRUCTION_SIZE === 0 && words(code).every(isFiller))

const KINDS: Readonly<Partial<Record<Form, EdgeKind>>> = {
  b: 'branch26',
  bl: 'branch26',
  'b.cond': 'branch19',
  cbz: 'branch19',
  tbz: 'branch14',
  adr: 'adr21',
  'ldr-literal': 'literal19',
}

/** undefined: the code is not whole instructions. */
export function outwardReferences(code: Uint8Array): OutwardReference[] | undefined {
  if (code.length % INSTRUCTION_SIZE !== 0) return undefined
  const references: OutwardReference[] = []
  words(code).forEach((word, i) => {
    const { form, distance } = decodeWord(word)
    if (distance === undefined) return
    const offset = i * INSTRUCTION_SIZE
    const target = offset + distance
    if (form !== 'adrp' && target >= 0 && target < code.length) return
    const kind = KINDS[form]
    // A page says nothing without its rest, and comes with a relocation always.
    references.push({ offset, length: INSTRUCTION_SIZE, kind: kind ?? 'page21', target, field: () => kind && offset, origin: () => 0 })
  })
  return references
}

/** 0xff8 and 0xffc: the last two instructions of a page. */
const LAST_OF_PAGE = 0xff8
const PAGE_MASK = 0xfff

/**
 * Cortex-A53 erratum 843419: an ADRP among the last two instructions of a page, then a load or store, then (perhaps behind one more instruction)
 * a load or store that adds its offset to the page, may use a wrong address. Whether code that begins at `address` would have that; some that
 * would not is taken for it, too.
 */
export function hasErratum843419(code: Uint8Array, address: number): boolean {
  for (let offset = 0; offset + 3 * INSTRUCTION_SIZE <= code.length; offset += INSTRUCTION_SIZE) {
    if (((address + offset) & PAGE_MASK) < LAST_OF_PAGE) continue
    const word = wordAt(code, offset)
    if (decodeWord(word).form !== 'adrp' || !isLoadStore(wordAt(code, offset + 4))) continue
    const register = word & 31
    const uses = (at: number): boolean =>
      at + INSTRUCTION_SIZE <= code.length &&
      decodeWord(wordAt(code, at)).form === 'load-store-offset' &&
      ((wordAt(code, at) >>> 5) & 31) === register
    if (uses(offset + 8) || uses(offset + 12)) return true
  }
  return false
}

/** C4.1: op0 is x1x0. */
const isLoadStore = (word: number): boolean => (word & 0x0a000000) === 0x08000000
