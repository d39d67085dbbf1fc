/** DWARF in COFF objects, as mingw's compilers emit it, relocated as the linker would. */

import { HotpatchError } from '../../errors.ts'
import { DEBUG_SECTION_NAMES, type DebugSections } from '../dwarf/debug-sections.ts'
import { viewOf } from '../struct.ts'
import { IMAGE_FILE_MACHINE, IMAGE_REL_AMD64, IMAGE_REL_ARM64 } from './definitions.ts'
import type { CoffObject, CoffSection } from './reader.ts'

const NOTHING = new Uint8Array(0)

/** undefined: the object has no .debug_info. Throws MALFORMED. */
export function coffDebugSections(object: CoffObject): DebugSections | undefined {
  const values = new Map(object.symbols.map(({ index, value }) => [index, value]))
  const all = (name: string) =>
    object.sections.filter((section) => section.name === name).map((section) => relocated(object, section, values))
  const one = (name: string) => all(name)[0] ?? NOTHING
  const info = all(DEBUG_SECTION_NAMES.info)
  if (info.length === 0) return undefined
  return {
    info,
    types: all(DEBUG_SECTION_NAMES.types),
    abbrev: one(DEBUG_SECTION_NAMES.abbrev),
    str: one(DEBUG_SECTION_NAMES.str),
    lineStr: one(DEBUG_SECTION_NAMES.lineStr),
    strOffsets: one(DEBUG_SECTION_NAMES.strOffsets),
  }
}

/** Types of relocations that add an offset in a section to a 4-byte field. Others are for addresses of code, which are not looked at. */
const SECTION_OFFSETS: Readonly<Record<number, number>> = {
  [IMAGE_FILE_MACHINE.AMD64]: IMAGE_REL_AMD64.SECREL,
  [IMAGE_FILE_MACHINE.ARM64]: IMAGE_REL_ARM64.SECREL,
}

function relocated(object: CoffObject, section: CoffSection, values: ReadonlyMap<number, number>): Uint8Array {
  const content = section.content ?? NOTHING
  if (section.relocations.length === 0) return content
  const out = content.slice()
  const view = viewOf(out)
  const sectionOffset = SECTION_OFFSETS[object.machine]
  for (const { offset, symbolIndex, type } of section.relocations) {
    if (type !== sectionOffset) continue
    if (offset + 4 > out.length)
      throw new HotpatchError('MALFORMED', `a relocation of section ${section.name} is for offset ${offset}, behind its end`)
    view.setUint32(offset, (view.getUint32(offset, true) + (values.get(symbolIndex) ?? 0)) >>> 0, true)
  }
  return out
}
