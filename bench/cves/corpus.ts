/** The list of real security fixes: corpus.json, typed. */
import { readFileSync } from 'node:fs'
import type { TargetName } from './targets.ts'

export interface CorpusEntry {
  /** `package--patch`. */
  readonly id: string
  /** Debian 12's source package. */
  readonly package: string
  readonly cve: readonly string[]
  /** The fix: one patch of the package's quilt series, or several that belong together. */
  readonly patch: string | readonly string[]
  /** The source files that it changes. */
  readonly files: readonly string[]
  /** What differs between the objects, as `object:function`. */
  readonly functions: {
    readonly changed: readonly string[]
    readonly changed_n: number
    readonly added: readonly string[]
    readonly removed: readonly string[]
    /** Functions that differ by __LINE__ alone. */
    readonly line_only_n: number
  }
  readonly data: { readonly changed: readonly string[]; readonly added: readonly string[] }
  /** Types whose layout changes. */
  readonly layout: readonly string[]
  readonly imports_added: readonly string[]
  readonly targets: readonly TargetName[]
  readonly notes: string
  /** Whether a hotpatch is to be expected or to be refused. */
  readonly expected: string
  /** `core` entries are built by every run over the corpus. */
  readonly tier: string
}

export const corpus: readonly CorpusEntry[] = JSON.parse(readFileSync(new URL('corpus.json', import.meta.url), 'utf8'))

export function entryOf(id: string): CorpusEntry {
  const found = corpus.find((entry) => entry.id === id)
  if (found === undefined) throw new Error(`the corpus has no entry ${id}`)
  return found
}

export const patchesOf = (entry: CorpusEntry): readonly string[] => [entry.patch].flat()
