import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { allFlag, nameFlag, onePid, pidFlag, type WhichFlags } from '../parameters.ts'

type Flags = JsonFlag & WhichFlags

export const statusCommand = buildCommand<Flags, [], Context>({
  docs: {
    brief: 'Shows what is patched, in one process or in all',
    fullDescription: [
      'Shows what is patched. Reads the ledger that every patched process carries in itself; no file on disk is needed.',
      'Without --pid, or with --all, it looks at every process that it may.',
      '',
      'Example: hotpatch status --pid 4711',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: pidFlag,
      all: allFlag('Every process'),
      name: nameFlag,
      json: jsonFlag,
    },
  },
  async func(flags) {
    await answer(this, 'status', flags, async () => {
      const pid = onePid({ ...flags, all: flags.all || flags.pid === undefined })
      return (await import('../actions/status.ts')).status({ pid, name: flags.name })
    })
  },
})
