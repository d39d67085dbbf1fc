/** DWARF sections of COFF objects, relocated with each section at a place of its own, as their readers want them. */
import { placeOf } from '../section-places.ts'
import { viewOf } from '../struct.ts'
import { IMAGE_FILE_MACHINE, IMAGE_REL_AMD64, IMAGE_REL_ARM64, IMAGE_SCN } from './definitions.ts'
import type { CoffObject } from './reader.ts'

/** What fields of debug information hold, by machine and relocation. */
const HOLDS: Readonly<Record<number, Readonly<Record<number, 'address' | 'offset'>>>> = {
  [IMAGE_FILE_MACHINE.AMD64]: { [IMAGE_REL_AMD64.ADDR64]: 'address', [IMAGE_REL_AMD64.SECREL]: 'offset' },
  [IMAGE_FILE_MACHINE.ARM64]: { [IMAGE_REL_ARM64.ADDR64]: 'address', [IMAGE_REL_ARM64.SECREL]: 'offset' },
}

/** The section `name`; undefined where the object has none. */
export function debugSection(object: CoffObject, name: string): Uint8Array | undefined {
  const section = object.sections.find((s) => s.name === name && (s.characteristics & IMAGE_SCN.CNT_CODE) === 0)
  if (section?.content === undefined) return undefined
  if (section.relocations.length === 0) return section.content
  const holds = HOLDS[object.machine] ?? {}
  const symbols = new Map(object.symbols.map((symbol) => [symbol.index, symbol]))
  const copy = section.content.slice()
  const view = viewOf(copy)
  for (const { offset, symbolIndex, type } of section.relocations) {
    const target = symbols.get(symbolIndex)
    if (target === undefined || target.sectionNumber <= 0) continue
    if (holds[type] === 'address' && offset + 8 <= copy.length) {
      const within = Number(view.getBigInt64(offset, true)) + target.value
      view.setBigUint64(offset, BigInt.asUintN(64, BigInt(placeOf(target.sectionNumber, within))), true)
    } else if (holds[type] === 'offset' && offset + 4 <= copy.length) {
      view.setUint32(offset, (view.getUint32(offset, true) + target.value) >>> 0, true)
    }
  }
  return copy
}
