import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { patchId, pidFlag, timeoutFlag } from '../parameters.ts'

interface Flags extends JsonFlag {
  readonly pid: number
  readonly id?: string
  readonly timeout: number
}

export const rollbackCommand = buildCommand<Flags, [], Context>({
  docs: {
    brief: 'Undoes a patch in a running process',
    fullDescription: [
      'Undoes a patch in a running process: every original byte is restored at one instant. Where nothing is patched, that is no error.',
      '',
      'Example: hotpatch rollback --pid 4711 --id server-1',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: pidFlag,
      id: { kind: 'parsed', parse: patchId, brief: 'Which patch, where several are applied', optional: true, placeholder: 'NAME' },
      timeout: timeoutFlag,
      json: jsonFlag,
    },
  },
  async func(flags) {
    await answer(this, 'rollback', flags, async () => (await import('../actions/rollback.ts')).rollback(flags.pid, flags.id, flags.timeout))
  },
})
