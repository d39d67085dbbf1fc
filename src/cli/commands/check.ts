import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { forceFlag, patchArgument, pidFlag } from '../parameters.ts'

interface Flags extends JsonFlag {
  readonly pid: number
  readonly force: boolean
}

export const checkCommand = buildCommand<Flags, [patch: string], Context>({
  docs: {
    brief: 'Tells whether and how a patch would apply to a process, changing nothing',
    fullDescription: [
      'Tells whether and how a patch would apply to a process. Changes nothing in it and stops nothing.',
      '',
      'Example: hotpatch check --pid 4711 server.hotpatch.so',
    ].join('\n'),
  },
  parameters: { flags: { pid: pidFlag, force: forceFlag, json: jsonFlag }, positional: patchArgument },
  async func(flags, patch) {
    await answer(this, 'check', flags, async () => (await import('../actions/check.ts')).check(flags.pid, patch, flags.force))
  },
})
