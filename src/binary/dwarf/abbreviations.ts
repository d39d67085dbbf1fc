/**
 * .debug_abbrev: what entries of .debug_info look like (DWARF 5, 7.5.3). Each declaration becomes a list of steps, in which attributes that
 * nobody asks for are merged into one skip where their forms have fixed sizes.
 */
import { HotpatchError } from '../../errors.ts'
import { Cursor } from './cursor.ts'
import { DW_FORM } from './debug-info-definitions.ts'
import { fixedSize, type UnitFormat } from './forms.ts'

export interface Abbreviation {
  readonly code: number
  /** DW_TAG. */
  readonly tag: number
  readonly hasChildren: boolean
  readonly steps: readonly AbbreviationStep[]
}

export type AbbreviationStep =
  /** Bytes to pass over. */
  | { readonly skip: number }
  /** A DW_FORM that must be looked at to be passed over. */
  | { readonly pass: number }
  /** An attribute that is wanted, as DW_AT, its form and what DW_FORM_implicit_const says. */
  | {
      readonly attribute: number
      readonly form: number
      readonly implicit: number
    }

/**
 * The table at `offset`, by code. Throws TRUNCATED, MALFORMED.
 * @param wanted attributes that steps are made for
 */
export function readAbbreviations(
  section: Uint8Array,
  offset: number,
  format: UnitFormat,
  wanted: ReadonlySet<number>,
): Map<number, Abbreviation> {
  if (offset > section.length)
    throw new HotpatchError('TRUNCATED', `abbreviations are said to be at offset ${offset}, .debug_abbrev has ${section.length} bytes`)
  const cursor = new Cursor(section, offset)
  const table = new Map<number, Abbreviation>()
  for (let code = cursor.uleb(); code !== 0; code = cursor.uleb()) {
    const tag = cursor.uleb()
    const hasChildren = cursor.u8() !== 0
    table.set(code, { code, tag, hasChildren, steps: readSteps(cursor, format, wanted) })
    if (cursor.done) break
  }
  return table
}

function readSteps(cursor: Cursor, format: UnitFormat, wanted: ReadonlySet<number>): AbbreviationStep[] {
  const steps: AbbreviationStep[] = []
  let skip = 0
  const flush = () => {
    if (skip > 0) steps.push({ skip })
    skip = 0
  }
  for (;;) {
    const attribute = cursor.uleb()
    const form = cursor.uleb()
    const implicit = form === DW_FORM.implicit_const ? cursor.sleb() : 0
    if (attribute === 0 && form === 0) break
    const size = fixedSize(form, format)
    if (wanted.has(attribute)) {
      flush()
      steps.push({ attribute, form, implicit })
    } else if (size === undefined) {
      flush()
      steps.push({ pass: form })
    } else skip += size
  }
  flush()
  return steps
}
