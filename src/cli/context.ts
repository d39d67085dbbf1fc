/** What a command gets from outside: where words and JSON go, and where the exit code is set. */
import type { CommandContext, StricliProcess } from '@stricli/core'

export interface Context extends CommandContext {
  readonly process: StricliProcess
}
