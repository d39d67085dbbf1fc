/** What a COFF object's debug information says about types. */
import { codeViewTypes } from '../../binary/codeview/debug-types.ts'
import { codeViewSections } from '../../binary/coff/codeview-sections.ts'
import { coffDebugSections } from '../../binary/coff/debug-sections.ts'
import type { CoffObject } from '../../binary/coff/reader.ts'
import { dwarfTypes } from '../../binary/dwarf/debug-info-types.ts'
import type { DebugTypes } from '../../binary/types/model.ts'

/** Gives undefined where there is none. Parsed at the first call, which throws TRUNCATED, MALFORMED. */
export function coffTypes(object: CoffObject): () => DebugTypes | undefined {
  let parsed: { readonly types: DebugTypes | undefined } | undefined
  return () => {
    if (parsed === undefined) {
      const sections = coffDebugSections(object)
      parsed = { types: sections === undefined ? codeView(object) : dwarfTypes(sections) }
    }
    return parsed.types
  }
}

function codeView(object: CoffObject): DebugTypes | undefined {
  const sections = codeViewSections(object)
  return sections && codeViewTypes(sections)
}
