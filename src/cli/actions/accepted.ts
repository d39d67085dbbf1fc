/** What the author of a patch has let through, in words. */
import type { AcceptedReason } from '../../builder/inspect.ts'
import { strong } from '../words.ts'

export const acceptedLines = (accepted: readonly AcceptedReason[]): string[] =>
  accepted.length === 0
    ? []
    : [
        '',
        '  accepted by its author:',
        ...accepted.map(({ code, symbol, file, detail }) => `    ${strong(code)}: ${symbol} (${file}): ${detail}`),
      ]
