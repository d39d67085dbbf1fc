/**
 * Constants that became state. A function that computed with a constant takes the number from a new variable now, which the patch sets (a seed drawn at start-up):
 * the code can be switched, but what the process has made with the constant before (hash values, the places of entries in a table) stays and fits no more.
 *
 * Told by: the function refers to a new writable variable, and a telling number of its old version stands nowhere in the code that travels.
 */
import { architectureOf } from '../../machine/architectures.ts'
import type { Block } from '../graph.ts'
import { type Reason, reason } from '../reasons.ts'
import type { Change, Located } from './classify.ts'

/** Numbers below this are limits, sizes and offsets: nothing is made with them that has to be found again. */
const LEAST_TELLING = 1n << 16n

/** Adds to the reasons of the changed functions. */
export function judgeNewState(changes: readonly Change[]): void {
  const variables = changes
    .filter((c) => (c.kind === 'data' || c.kind === 'thread-local') && c.change === 'added')
    .flatMap((c) => c.after?.block ?? [])
  if (variables.length === 0) return
  const [blocks, names] = [new Set(variables), new Set(variables.flatMap(globalNames))]
  const travelling = changes.filter((c) => c.kind === 'function')
  let kept: ReadonlySet<bigint> | undefined
  for (const change of travelling) {
    const { before, after } = change
    if (change.change !== 'changed' || before === undefined || after === undefined) continue
    const used = after.block.edges.find(({ target }) => (target.block === undefined ? names.has(target.name) : blocks.has(target.block)))
    if (used === undefined) continue
    kept ??= new Set(travelling.flatMap((c) => (c.after === undefined ? [] : tellingNumbers(c.after))))
    const gone = tellingNumbers(before).find((number) => kept?.has(number) === false)
    if (gone !== undefined) change.reasons.push(because(change, gone, variableOf(used.target.block, used.target.name)))
  }
}

const because = (change: Change, gone: bigint, variable: string): Reason =>
  reason('CONSTANT_BECAME_STATE', change.name, change.file, `it used the constant 0x${gone.toString(16)}, and has ${variable} now`)

const globalNames = (block: Block): string[] => block.symbols.filter((s) => s.binding !== 'local').map((s) => s.name)

const variableOf = (block: Block | undefined, name: string): string => block?.symbols.find((s) => s.kind !== 'section')?.name ?? name

/** As the processor takes them, without sign. */
function tellingNumbers({ block: { kind, content }, graph }: Located): bigint[] {
  if (kind !== 'code' || content === undefined) return []
  const { constants } = architectureOf(graph.machine).code
  return constants(content)
    .map(magnitude)
    .filter((number) => number >= LEAST_TELLING)
}

const magnitude = (number: bigint): bigint => (number < 0n ? -number : number)
