/** Plans of two builds made of link graphs, and what they say: small enough to be read in a test. */
import { expect } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { buildPlan, type Planned } from '../build-plan.ts'
import type { LinkGraph } from '../graph.ts'
import type { Libraries } from '../libraries.ts'
import type { PatchPlan, Resolution } from '../plan.ts'
import type { Reason } from '../reasons.ts'
import { type BlockSpec, code, moveImmediate, object, program } from './graphs.ts'
import { type LinkOptions, link } from './link.ts'

export const naming = { sequence: 1, id: 'test-1', description: '', cves: [] }
export const as = (path: string, blocks: BlockSpec[], sourceFile?: string): LinkGraph =>
  object({ path, blocks, ...(sourceFile === undefined ? {} : { sourceFile }) })

export interface Case {
  readonly before: BlockSpec[] | LinkGraph[]
  readonly after: BlockSpec[] | LinkGraph[]
  readonly link?: LinkOptions
  /** What the base image was linked from, where it is not `before`. */
  readonly linked?: LinkGraph[]
  readonly libraries?: Libraries
}

const isGraphs = (side: BlockSpec[] | LinkGraph[]): side is LinkGraph[] => side.some((x) => 'blocks' in x)
const graphs = (side: BlockSpec[] | LinkGraph[]): LinkGraph[] => (isGraphs(side) ? side : [as('a.o', side)])

export function run({ before, after, link: options, linked, libraries }: Case): Planned & { base: ReturnType<typeof link> } {
  const b = graphs(before)
  const base = link(linked ?? b, options)
  return { ...buildPlan(program(b, graphs(after)), base, naming, [], libraries), base }
}

export function refusal(c: Case): string[] {
  try {
    run(c)
  } catch (error) {
    if (!(error instanceof HotpatchError) || error.code !== 'REFUSED') throw error
    expect(error.exit).toBe(3)
    return (error.facts.reasons as Reason[]).map((r) => `${r.code} ${r.symbol}`)
  }
  throw new Error('not refused')
}

/** Where the edges of a planned block lead, in words. */
export function leads(plan: PatchPlan | undefined, name: string): string[] {
  const block = plan?.blocks.find((b) => b.name === name)
  if (plan === undefined || block === undefined) throw new Error(`${name} does not travel`)
  return block.edges.map((edge) => `${edge.kind} ${inWords(plan.resolutions.get(edge), plan)}`)
}
function inWords(resolution: Resolution | undefined, plan: PatchPlan): string {
  if (resolution === undefined) return 'nowhere'
  if (resolution.to === 'import') return `import ${resolution.import.library} ${resolution.import.name}`
  if (resolution.to === 'patch') return `patch ${resolution.block.name}${resolution.offset === 0 ? '' : `+${resolution.offset}`}`
  const symbol = plan.base.symbols.find((s) => s.rva === resolution.rva)
  const slot = plan.base.importSlots.find((s) => s.rva === resolution.rva)
  return `${resolution.to} ${slot ? `slot ${slot.name}` : (symbol?.name ?? resolution.rva)}`
}
export const names = ({ plan }: Planned): string[] => plan?.blocks.map((b) => b.name) ?? []

export const f = (value: number, body: number[] = [], edges: BlockSpec['edges'] = [], rest: Partial<BlockSpec> = {}): BlockSpec =>
  code('f', [...moveImmediate(value), ...body], edges?.map((e) => ({ ...e, at: e.at + 5 })) ?? [], rest)
export const data = (name: string, content: BlockSpec['content'], rest: Partial<BlockSpec> = {}): BlockSpec => ({
  name,
  kind: 'data',
  content,
  ...rest,
})
export const table = (name: string, content: BlockSpec['content'], rest: Partial<BlockSpec> = {}): BlockSpec => ({
  name,
  kind: 'rodata',
  content,
  ...rest,
})
