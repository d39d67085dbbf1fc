/** What `diff` and `build` tell: plain values, fit for JSON. Names are the linker's; files are paths in the folder given. */
import type { Reason } from './reasons.ts'

export type ItemKind = 'function' | 'data' | 'rodata' | 'thread-local' | 'import' | 'unwind' | 'section' | 'line-numbers' | 'type'
export type ItemChange = 'changed' | 'added' | 'removed'

export interface DiffItem {
  readonly name: string
  /** The object file. */
  readonly file: string
  readonly kind: ItemKind
  readonly change: ItemChange
  /** Bytes; undefined where it did not exist. */
  readonly sizeBefore: number | undefined
  readonly sizeAfter: number | undefined
  /** false: at least one reason refuses it that nobody has accepted. */
  readonly patchable: boolean
  /** Patchable since a person has accepted what refuses it. */
  readonly accepted: boolean
  readonly reasons: readonly Reason[]
}

export interface DiffReport {
  /** Number of objects that each side has. */
  readonly objects: { readonly before: number; readonly after: number; readonly identical: number }
  /** Sorted by file, then kind, then name. */
  readonly items: readonly DiffItem[]
  readonly counts: {
    readonly functions: ChangeCounts
    readonly data: ChangeCounts
    readonly rodata: ChangeCounts
    readonly importsAdded: number
    readonly unwindChanged: number
    /** Functions in which nothing differs but line numbers that moved: they are not patched. */
    readonly linesMoved: number
  }
  /** Whether layouts of types were compared. */
  readonly layouts: {
    /** Objects that differ and whose debug information was read. */
    readonly compared: number
    /** Objects that differ and of which one side or both have no debug information. */
    readonly without: readonly string[]
  }
  /**
   * same: nothing differs that a process could notice. accepted: a patch was made since a person has accepted what refuses it. Without a base
   * image this is about all objects, of a patch that was made about its base image.
   */
  readonly outcome: 'same' | 'patchable' | 'accepted' | 'refused'
  /** What could not be read or represented, in words. */
  readonly notes: readonly string[]
}

export interface ChangeCounts {
  readonly changed: number
  readonly added: number
  readonly removed: number
}

export interface BuildReport {
  readonly base: {
    readonly name: string
    readonly buildId: string | undefined
    readonly textSha256: string
    /** The file beside it that its symbols were taken from. */
    readonly symbols: string | undefined
  }
  readonly id: string
  readonly sequence: number
  /** The functions that are redirected, by ascending RVA in the base image. Empty where there is nothing to patch. */
  readonly functions: readonly BuiltFunction[]
  /** What the patch image brings that the base image does not have. */
  readonly added: readonly {
    readonly name: string
    readonly kind: 'function' | 'data' | 'rodata' | 'thread-local'
    readonly size: number
  }[]
  /** Library functions that it reaches through the base image. */
  readonly imports: readonly { readonly name: string; readonly library: string | undefined }[]
  /** Reasons that would refuse it, had its author not accepted them. */
  readonly accepted: readonly Reason[]
  /** What the patch image imports by itself, because the base image does not. */
  readonly ownImports: readonly { readonly name: string; readonly library: string; readonly version: string | undefined }[]
  /** Remarks: reasons that do not refuse. */
  readonly remarks: readonly Reason[]
  /** Symbols of the base image that are there and could not be used, in words. */
  readonly notes: readonly string[]
  readonly diff: DiffReport
}

export interface BuiltFunction {
  readonly name: string
  readonly file: string
  /** In the base image. */
  readonly rva: number
  readonly sizeBefore: number
  readonly sizeAfter: number
  readonly redirect: string
  /** How the old function was found in the base image. */
  readonly found: 'symbol' | 'content' | 'reference'
}
