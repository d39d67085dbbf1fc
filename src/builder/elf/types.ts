/** What an ELF object's debug information says about types. */
import { dwarfTypes } from '../../binary/dwarf/debug-info-types.ts'
import { elfDebugSections } from '../../binary/elf/debug-sections.ts'
import type { ElfFile } from '../../binary/elf/reader.ts'
import type { DebugTypes } from '../../binary/types/model.ts'

/** Gives undefined where there is none. Parsed at the first call, which throws TRUNCATED, MALFORMED. */
export function elfTypes(elf: ElfFile): () => DebugTypes | undefined {
  let parsed: { readonly types: DebugTypes | undefined } | undefined
  return () => {
    if (parsed === undefined) {
      const sections = elfDebugSections(elf)
      parsed = { types: sections && dwarfTypes(sections) }
    }
    return parsed.types
  }
}
