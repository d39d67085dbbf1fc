/** The thread-local variables that a patch brings, as its section `.tls` has them: initial values, and room for the number that a loader gives the module. */
import { TLS_INDEX_SIZE } from '../../binary/pe/tls-writer.ts'
import type { Block } from '../graph.ts'
import { layOutBlocks, type SectionLayout } from './layout.ts'

/** Bytes, from the start of the section. */
export interface OwnThreadLocal {
  /** Of the initial values. */
  readonly layout: SectionLayout
  readonly alignment: number
  readonly index: number
  /** Of the section. */
  readonly size: number
}

/** undefined: the patch brings none. */
export function ownThreadLocal(blocks: readonly Block[]): OwnThreadLocal | undefined {
  const variables = blocks.filter((block) => block.kind === 'tls')
  if (variables.length === 0) return undefined
  const layout = layOutBlocks(variables, 1)
  const index = Math.ceil(layout.size / TLS_INDEX_SIZE) * TLS_INDEX_SIZE
  return { layout, alignment: Math.max(...variables.map(({ alignment }) => alignment)), index, size: index + TLS_INDEX_SIZE }
}
