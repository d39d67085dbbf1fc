/** A relocation of an object, in the graph's convention. */

import type { CoffSymbol } from '../../binary/coff/symbols.ts'
import type { EdgeKind } from '../../machine/edges.ts'
import type { KeptSection } from './sections.ts'

export interface Reference {
  readonly from: KeptSection
  /** Of the field, from the start of its section. */
  readonly offset: number
  readonly kind: EdgeKind
  readonly target: CoffSymbol
  readonly addend: number
}
