/** What the passes hand to a back end: everything that goes into one patch image, resolved. */
import type { BaseImage } from './base-image.ts'
import type { Block, Edge } from './graph.ts'
import type { NewImport } from './libraries.ts'
import type { Reason } from './reasons.ts'

export interface PatchPlan {
  readonly base: BaseImage
  readonly sequence: number
  readonly id: string
  readonly description: string
  readonly cves: readonly string[]
  readonly functions: readonly PatchedFunction[]
  /** The patches of the same update, this one among them. */
  readonly together?: readonly { readonly id: string; readonly base: string }[]
  /** Reasons against it that its author has looked into. */
  readonly accepted?: readonly Reason[]
  /** Right only if all functions switch at one instant, in which no thread is inside any of them. */
  readonly atOneInstant?: boolean
  /** Exports of the base image by which no other module may call it. */
  readonly mustBeUnused?: readonly string[]
  /** Entry of the patch's callback. */
  readonly callout?: { readonly block: Block; readonly offset: number } | undefined
  /** Everything that the image holds, in the order in which it is laid out within its kind. Companions are among them. */
  readonly blocks: readonly Block[]
  /** The source or object file that blocks are of; not those that were made. */
  readonly files?: ReadonlyMap<Block, string>
  /** Where each edge of those blocks leads. Edges that a back end rewrites itself (cie32) are not in it. */
  readonly resolutions: ReadonlyMap<Edge, Resolution>
}

export interface PatchedFunction {
  /** The linker's name. */
  readonly name: string
  /** The source or object file that distinguishes statics of one name. */
  readonly file: string
  /** Of the old function in the base image. */
  readonly rva: number
  readonly size: number
  /** Parts of the old function that lie elsewhere in the base image. */
  readonly fragments: readonly { readonly rva: number; readonly size: number }[]
  /** The block that holds the new function. */
  readonly block: Block
  /** Where calls of the old function enter it: behind the nops that `-fpatchable-function-entry` puts before a function. */
  readonly entry: number
  /** What those calls go through before that. */
  readonly landing?: Block
  /** How the base image's function is redirected, as machine/x64/redirect.ts names it. */
  readonly redirect: string
  /** The first 4 bytes of the old function, little-endian: the first extra of the FUNCTION record. */
  readonly originalBytes: number
}

/** Where the target of an edge lies (S of the edge kinds); the edge's addend comes on top. */
export type Resolution =
  /** A place in the patch image. */
  | { readonly to: 'patch'; readonly block: Block; readonly offset: number }
  /** An address in the base image. It need not be inside a symbol. */
  | { readonly to: 'base'; readonly rva: number }
  /** The pointer that the base image holds at `rva` (its IAT or GOT). Only for abs64 edges. */
  | { readonly to: 'base-pointer'; readonly rva: number }
  /** What the patch image imports by itself. Only for abs64 edges without addend. */
  | { readonly to: 'import'; readonly import: NewImport }
