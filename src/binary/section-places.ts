/**
 * Debug information of relocatable objects names places by relocations. Where each section has an address of its own, it reads like
 * that of an image, and an address leads back to section and offset.
 */
const SECTION_SPAN = 2 ** 32

/** @param section its number, as the format counts */
export const placeOf = (section: number, offset: number): number => (section + 1) * SECTION_SPAN + offset

export interface SectionPlace {
  readonly section: number
  readonly offset: number
}

/** undefined: below all sections (a reference that the assembler left at zero). */
export function sectionAt(place: number): SectionPlace | undefined {
  const section = Math.floor(place / SECTION_SPAN) - 1
  return section < 0 ? undefined : { section, offset: place - (section + 1) * SECTION_SPAN }
}
