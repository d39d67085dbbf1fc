import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { allFlag, forceFlag, nameFlag, onePid, patchArgument, pidFlag, type WhichFlags } from '../parameters.ts'

interface Flags extends JsonFlag, WhichFlags {
  readonly force: boolean
}

export const checkCommand = buildCommand<Flags, [patch: string], Context>({
  docs: {
    brief: 'Tells whether and how a patch would apply to a process, changing nothing',
    fullDescription: [
      'Tells whether and how a patch would apply to a process. Changes nothing in it and stops nothing.',
      'With --all it looks at every process that maps the base image.',
      '',
      'Example: hotpatch check --pid 4711 server.hotpatch.so',
    ].join('\n'),
  },
  parameters: {
    flags: { pid: pidFlag, all: allFlag('Every process that maps the base image'), name: nameFlag, force: forceFlag, json: jsonFlag },
    positional: patchArgument,
  },
  async func(flags, patch) {
    await answer(this, flags.all ? 'check --all' : 'check', flags, async () => {
      const pid = onePid(flags)
      if (pid === undefined) return (await import('../actions/check-all.ts')).checkAll(patch, flags)
      return (await import('../actions/check.ts')).check(pid, patch, flags.force)
    })
  },
})
