import { buildCommand } from '@stricli/core'
import type { RollbackFlags } from '../actions/rollback.ts'
import { answer, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { CONSISTENCY, consistencyFlag, patchId, pidFlag, timeoutFlag, waitForReturnFlag } from '../parameters.ts'

export const rollbackCommand = buildCommand<RollbackFlags, [], Context>({
  docs: {
    brief: 'Undoes a patch in a running process',
    fullDescription: [
      'Undoes a patch in a running process: every original byte is restored at one instant. Where nothing is patched, that is no error.',
      ...CONSISTENCY,
      'A thread that is inside the patch is waited for (--timeout); if it stays there, it is named and nothing is changed.',
      '',
      'Example: hotpatch rollback --pid 4711 --id server-1',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: pidFlag,
      id: { kind: 'parsed', parse: patchId, brief: 'Which patch, where several are applied', optional: true, placeholder: 'NAME' },
      timeout: timeoutFlag,
      consistency: consistencyFlag,
      waitForReturn: waitForReturnFlag,
      json: jsonFlag,
    },
  },
  async func(flags) {
    await answer(this, 'rollback', flags, async () => (await import('../actions/rollback.ts')).rollback(flags))
  },
})
