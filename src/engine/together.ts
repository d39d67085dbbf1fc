/** Several switches as one: what patches of one update do at the same instant, in the same stop. */
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from '../patch/image.ts'
import type { Process } from '../process/contract.ts'
import type { Examination } from './examine.ts'
import type { Guard } from './quiescence.ts'
import type { SwitchPlan } from './switch.ts'

/** Guards keep their names: those of each plan get indices behind those of the plans before it. */
export function mergePlans(plans: readonly SwitchPlan[]): SwitchPlan {
  const [only, ...others] = plans
  if (only !== undefined && others.length === 0) return only
  const starts: number[] = []
  let next = 0
  for (const { guards } of plans) {
    starts.push(next)
    next += 1 + Math.max(-1, ...[...guards.instructions, ...guards.frames].map((guard) => guard.function))
  }
  const moved = (kind: 'instructions' | 'frames'): Guard[] =>
    plans.flatMap(({ guards }, i) => guards[kind].map((guard) => ({ ...guard, function: guard.function + (starts[i] ?? 0) })))
  return {
    writes: plans.flatMap(({ writes }) => writes),
    copies: plans.flatMap(({ copies }) => copies),
    storesSuffice: plans.every(({ storesSuffice }) => storesSuffice),
    guards: { instructions: moved('instructions'), frames: moved('frames') },
    functionName: (index) => {
      const plan = starts.findLastIndex((start) => start <= index)
      return plans[plan]?.functionName(index - (starts[plan] ?? 0)) ?? ''
    },
  }
}

/** Throws SAME_BASE: of one base image only one patch can be in place. */
export function requireDifferentBases(
  process: Process,
  examined: readonly (Pick<Examination, 'base'> & { readonly image: PatchImage })[],
): void {
  const ids = new Map<bigint, string>()
  for (const { image, base } of examined) {
    if (base === undefined) continue
    const other = ids.get(base.module.base)
    const { id } = image.manifest
    if (other !== undefined)
      throw new HotpatchError('SAME_BASE', `${other} and ${id} are both for ${base.module.name} in process ${process.pid}`, {
        facts: { ids: [other, id] },
      })
    ids.set(base.module.base, id)
  }
}
