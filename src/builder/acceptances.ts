/** Reasons that the author of a fix has looked into and lets through: `--accept CODE:SYMBOL`. The patch image says which they were. */
import { HotpatchError } from '../errors.ts'
import { REASONS, type Reason, type ReasonCode, refuses } from './reasons.ts'

export interface Acceptance {
  readonly code: ReasonCode
  /** The linker's name, or the type's (`struct conn`). */
  readonly symbol: string
}

export interface Judged {
  /** What stands in the way. */
  readonly blockers: readonly Reason[]
  /** What would, had it not been accepted. */
  readonly accepted: readonly Reason[]
}

/** Whether a person's judgement can stand for it: the patch can be made, and it depends on the program whether it is right. */
export const isAcceptable = (code: string): code is ReasonCode => {
  const entry = Object.entries(REASONS).find(([key]) => key === code)?.[1]
  return entry?.acceptable === true
}

/** Throws ACCEPT_UNMATCHED: what there is no reason to accept was perhaps misspelt, or is no longer true of this build. */
export function judge(reasons: readonly Reason[], acceptances: readonly Acceptance[]): Judged {
  const matches = (reason: Reason, { code, symbol }: Acceptance): boolean => reason.code === code && reason.symbol === symbol
  const refusing = reasons.filter(refuses)
  const unmatched = acceptances.find((acceptance) => !refusing.some((reason) => matches(reason, acceptance)))
  if (unmatched !== undefined)
    throw new HotpatchError('ACCEPT_UNMATCHED', `nothing is refused as ${unmatched.code}:${unmatched.symbol}`, {
      facts: { refused: refusing.map(({ code, symbol }) => `${code}:${symbol}`) },
    })
  const isAccepted = (reason: Reason): boolean => acceptances.some((acceptance) => matches(reason, acceptance))
  return { blockers: refusing.filter((reason) => !isAccepted(reason)), accepted: refusing.filter(isAccepted) }
}
