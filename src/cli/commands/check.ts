import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { allFlag, forceFlag, nameFlag, onePid, patchArguments, pidFlag, type WhichFlags } from '../parameters.ts'

interface Flags extends JsonFlag, WhichFlags {
  readonly force: boolean
}

export const checkCommand = buildCommand<Flags, string[], Context>({
  docs: {
    brief: 'Tells whether and how a patch would apply to a process, changing nothing',
    fullDescription: [
      'Tells whether and how a patch would apply to a process. Changes nothing in it and stops nothing.',
      'Several patch images, for different base images of the process, are looked at as apply would put them in: all or none.',
      'With --all it looks at every process that maps the base image.',
      '',
      'Example: hotpatch check --pid 4711 server.hotpatch.so',
    ].join('\n'),
  },
  parameters: {
    flags: { pid: pidFlag, all: allFlag('Every process that maps the base image'), name: nameFlag, force: forceFlag, json: jsonFlag },
    positional: patchArguments,
  },
  async func(flags, ...patches) {
    await answer(this, flags.all ? 'check --all' : 'check', flags, async () => {
      const pid = onePid(flags)
      if (pid === undefined) return (await import('../actions/check-all.ts')).checkAll(patches, flags)
      return (await import('../actions/check.ts')).check(pid, patches, flags)
    })
  },
})
