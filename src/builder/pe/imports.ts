/** The import directory of a patch image: which pointer of the plan is which slot of its import address table. */
import { type ImportLayout, layOutImports } from '../../binary/pe/import-writer.ts'
import type { Block } from '../graph.ts'
import type { NewImport } from '../libraries.ts'
import type { PatchPlan } from '../plan.ts'

export interface Imports extends ImportLayout {
  /** The pointers, each with its offset in the directory. */
  readonly slots: ReadonlyMap<Block, number>
}

/** undefined: the patch image imports nothing. */
export function importsOf({ blocks, resolutions }: PatchPlan): Imports | undefined {
  const byLibrary = new Map<string, { block: Block; import: NewImport }[]>()
  for (const block of blocks)
    for (const edge of block.edges) {
      const resolution = resolutions.get(edge)
      if (resolution?.to !== 'import') continue
      // Loaders know no case in the names of DLLs.
      const key = resolution.import.library.toLowerCase()
      const known = byLibrary.get(key)
      if (known === undefined) byLibrary.set(key, [{ block, import: resolution.import }])
      else known.push({ block, import: resolution.import })
    }
  const groups = [...byLibrary.values()]
  if (groups.length === 0) return undefined
  const layout = layOutImports(groups.map((group) => ({ library: group[0]?.import.library ?? '', names: group.map((g) => g.import.name) })))
  const slots = new Map<Block, number>()
  groups.forEach((group, i) => {
    group.forEach(({ block }, j) => {
      slots.set(block, layout.slot(i, j))
    })
  })
  return { ...layout, slots }
}
