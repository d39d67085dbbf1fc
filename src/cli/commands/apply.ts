import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { patchArgument, pidFlag, timeoutFlag } from '../parameters.ts'

interface Flags extends JsonFlag {
  readonly pid: number
  readonly timeout: number
}

export const applyCommand = buildCommand<Flags, [patch: string], Context>({
  docs: {
    brief: 'Puts a patch into a running process',
    fullDescription: [
      'Puts a patch into a running process: loads the patch image beside the base image and switches the changed functions at one',
      'instant. Prints what was redirected and how long the process stood still. A patch that is applied already is no error.',
      '',
      'Example: hotpatch apply --pid 4711 server.hotpatch.so',
    ].join('\n'),
  },
  parameters: { flags: { pid: pidFlag, timeout: timeoutFlag, json: jsonFlag }, positional: patchArgument },
  async func(flags, patch) {
    await answer(this, 'apply', flags, async () => (await import('../actions/apply.ts')).apply(flags.pid, patch, flags.timeout))
  },
})
