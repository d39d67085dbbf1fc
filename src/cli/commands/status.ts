import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { processId } from '../parameters.ts'

interface Flags extends JsonFlag {
  readonly pid?: number
}

export const statusCommand = buildCommand<Flags, [], Context>({
  docs: {
    brief: 'Shows what is patched, in one process or in all',
    fullDescription: [
      'Shows what is patched. Reads the ledger that every patched process carries in itself; no file on disk is needed.',
      'Without --pid it looks at every process that it may.',
      '',
      'Example: hotpatch status --pid 4711',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: { kind: 'parsed', parse: processId, brief: 'The process', optional: true, placeholder: 'pid' },
      json: jsonFlag,
    },
  },
  async func(flags) {
    await answer(this, 'status', flags, async () => (await import('../actions/status.ts')).status(flags.pid))
  },
})
