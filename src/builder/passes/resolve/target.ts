/** Where a reference of what travels leads, or why it leads nowhere. */
import type { ImportSlot } from '../../base-image.ts'
import type { Block } from '../../graph.ts'
import type { NewImport } from '../../libraries.ts'
import type { ReasonCode } from '../../reasons.ts'
import type { Reach } from '../thread-local.ts'

/** Where the symbol of an edge lies; the addend comes on top. */
export type Target =
  | { readonly to: 'patch'; readonly block: Block; readonly offset: number }
  /** `slot`: the place is one that holds the address of an import. */
  | { readonly to: 'base'; readonly rva: number; readonly slot?: ImportSlot }
  /** A function or variable of another module, reached through slots of the base image. */
  | { readonly to: 'import'; readonly name: string; readonly slots: readonly ImportSlot[] }
  /** The same where the base image has no slot for it. `isSlot`: the place is the slot itself (COFF's `__imp_f`). */
  | { readonly to: 'new-import'; readonly import: NewImport; readonly isSlot: boolean }
  | { readonly to: 'constant'; readonly value: bigint }
  | { readonly to: 'thread-local'; readonly reach: Reach }
  /** The number of the module (PE) whose block has the new thread-local variables of a function. */
  | { readonly to: 'own-index'; readonly unit: Block; readonly variables: readonly Block[] }
  /** The call of `__tls_get_addr` in a sequence that does without. */
  | { readonly to: 'no-call' }

export type Outcome = Target | { readonly to: 'nowhere'; readonly code: ReasonCode; readonly detail: string }

export const nowhere = (code: ReasonCode, detail: string): Outcome => ({ to: 'nowhere', code, detail })
