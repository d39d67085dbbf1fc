/** The difference of two builds as it stands once a patch was made from it: for its base image, and with what a person has accepted. */
import { type Reason, refuses } from './reasons.ts'
import type { DiffItem, DiffReport } from './report.ts'

export function settle(diff: DiffReport, accepted: readonly Reason[]): DiffReport {
  return {
    ...diff,
    items: diff.items.map((item) => settleItem(item, accepted)),
    // What else is refused among the objects concerns other images than the one that was patched.
    outcome: diff.outcome === 'same' ? 'same' : accepted.length > 0 ? 'accepted' : 'patchable',
  }
}

function settleItem(item: DiffItem, accepted: readonly Reason[]): DiffItem {
  const isAccepted = ({ code, symbol }: Reason): boolean => accepted.some((one) => one.code === code && one.symbol === symbol)
  return !item.patchable && item.reasons.filter(refuses).every(isAccepted) ? { ...item, patchable: true, accepted: true } : item
}
