/**
 * What functions have agreed on beside the ABI. A compiler that sees both sides of a call may let the caller keep values in registers that
 * the callee happens to leave alone (gcc's -fipa-ra), drop a parameter (.isra) or fix its value (.constprop). A caller of before that is still at work must
 * then not meet the callee of after.
 */
import type { ChosenFunction } from './choose.ts'

/**
 * Whether one of the functions calls another that the same compilation made, or whose signature changed: right only if all switch while no thread
 * is inside any of them. A function that calls itself agrees with nobody: while it is compiled, what it leaves alone is not known.
 * @param retyped names of functions that other objects can see and whose signature changed
 */
export function areOneUnit(functions: readonly ChosenFunction[], retyped: ReadonlySet<string>): boolean {
  const switched = new Set(functions.map(({ before }) => before))
  const names = new Set(functions.map(({ change }) => change.name))
  return functions.some(({ before }) =>
    before.edges.some(({ target: { block, name } }) =>
      block === undefined ? names.has(name) && retyped.has(name) : block !== before && switched.has(block),
    ),
  )
}
