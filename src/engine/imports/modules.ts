/** What looking names up in a process is asked and answers, whatever the format: elf.ts, pe.ts. */
import type { PatchImport } from '../../patch/image.ts'

/** Where one import leads. */
export type Found =
  | { readonly address: bigint }
  /** An indirect function that nobody in the process has called yet: this function answers the address. */
  | { readonly resolver: bigint }

/** The modules of a process, as their loader sees them. */
export interface LoadedModules {
  isLoaded(library: string): boolean
  /**
   * Throws IMPORT_MISSING and IMPORT_AMBIGUOUS, and what the readers throw.
   * @param libraries where the image says that it may be; loaded, all of them
   */
  find(wanted: PatchImport, libraries: readonly string[]): Found
  /** The function by which the target itself loads a library; undefined: it has none. */
  readonly loader: bigint | undefined
}
