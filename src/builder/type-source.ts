/** Types of objects that have none themselves: where else they are looked for. */
import type { DebugTypes } from '../binary/types/model.ts'
import type { SymbolFile } from './symbol-source.ts'

/** One build as the search sees it. */
export interface ObjectsOfBuild {
  /** What was given: an object, an archive or a folder of them. */
  readonly given: string
  /** Objects that differ from the other build's. */
  readonly different: readonly ObjectFile[]
  /** Objects that make the same program in both builds, in the state before. */
  readonly same: readonly ObjectFile[]
}

export interface ObjectFile {
  /** As in LinkGraph. */
  readonly path: string
  readonly bytes: Uint8Array
}

/** Types that were found, or in a half-sentence why not. */
export interface FoundTypes {
  readonly types: DebugTypes | undefined
  readonly why: string | undefined
}

export interface TypeSource {
  /** Looked for when it is first asked. Throws TRUNCATED, MALFORMED for an object that is damaged. */
  of(object: ObjectFile): FoundTypes
}

/** The sources for both builds, and what a file that a person gave is to them. */
export interface TypeSources {
  readonly before: TypeSource
  readonly after: TypeSource
  /** undefined: the file has types of objects of the two builds. Else why it has none: a half-sentence. */
  refusal(file: SymbolFile): string | undefined
}
