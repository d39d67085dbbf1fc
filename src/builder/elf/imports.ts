/** What a patch image imports by itself, as any loader reads it: libraries, undefined symbols with versions, relocations. */
import { STB, STT, STV } from '../../binary/elf/definitions.ts'
import type { OutputSymbol } from '../../binary/elf/tables.ts'
import type { VersionNeed } from '../../binary/elf/version-tables.ts'
import type { Block } from '../graph.ts'
import type { NewImport } from '../libraries.ts'
import type { PatchPlan } from '../plan.ts'

export interface Imports {
  /** Sonames, each once. */
  readonly libraries: readonly string[]
  /** Undefined symbols, in the order in which they come first in .dynsym. */
  readonly symbols: readonly OutputSymbol[]
  /** Of each symbol, as .gnu.version has it. */
  readonly versionIndices: readonly number[]
  readonly versionNeeds: readonly VersionNeed[]
  /** 8-byte fields that get an address. `symbol` counts from 0 in `symbols`. */
  readonly fields: readonly { readonly block: Block; readonly offset: number; readonly symbol: number }[]
}

/** VER_NDX_GLOBAL: of no version. Those of versions follow. */
export const UNVERSIONED = 1

export function importsOf(plan: PatchPlan): Imports {
  const symbols: NewImport[] = []
  const indices = new Map<string, number>()
  const fields: Imports['fields'][number][] = []
  for (const block of plan.blocks)
    for (const edge of block.edges) {
      const resolution = plan.resolutions.get(edge)
      if (resolution?.to !== 'import') continue
      const { name, library, version = '' } = resolution.import
      const key = [name, library, version].join('\0')
      const known = indices.get(key)
      if (known === undefined) {
        indices.set(key, symbols.length)
        symbols.push(resolution.import)
      }
      fields.push({ block, offset: edge.offset, symbol: known ?? symbols.length - 1 })
    }
  const libraries = [...new Set(symbols.map(({ library }) => library))]
  return { libraries, symbols: symbols.map(undefinedSymbol), ...versionsOf(symbols, libraries), fields }
}

const undefinedSymbol = ({ name, kind }: NewImport): OutputSymbol => ({
  name,
  binding: STB.GLOBAL,
  type: kind === 'data' ? STT.OBJECT : STT.FUNC,
  visibility: STV.DEFAULT,
  section: 0,
  value: 0,
  size: 0,
})

function versionsOf(symbols: readonly NewImport[], libraries: readonly string[]): Pick<Imports, 'versionIndices' | 'versionNeeds'> {
  let next = UNVERSIONED + 1
  const indexOf = new Map<string, number>()
  const versionNeeds = libraries.flatMap((library): VersionNeed[] => {
    const names = new Set(symbols.filter((s) => s.library === library && s.version !== undefined).map((s) => s.version as string))
    const versions = [...names].map((name) => {
      indexOf.set(`${library}\0${name}`, next)
      return { name, index: next++ }
    })
    return versions.length === 0 ? [] : [{ library, versions }]
  })
  return { versionNeeds, versionIndices: symbols.map(({ library, version }) => indexOf.get(`${library}\0${version}`) ?? UNVERSIONED) }
}
