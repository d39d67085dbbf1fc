import { buildCommand } from '@stricli/core'
import { HotpatchError } from '../../errors.ts'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { allFlag, nameFlag, onePid, patchId, pidFlag, type WhichFlags } from '../parameters.ts'

type Flags = JsonFlag & WhichFlags & { readonly id?: string }

export const verifyCommand = buildCommand<Flags, [], Context>({
  docs: {
    brief: 'Compares every patched byte of a process with its ledger',
    fullDescription: [
      'Compares every byte that hotpatch wrote into a process with the ledger: redirected entries, the hotpatch address table, and the',
      "patch image's code and constants. A byte changed behind hotpatch's back is found and named.",
      'With --all it looks at every process that carries a patch.',
      '',
      'Example: hotpatch verify --pid 4711',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: pidFlag,
      all: allFlag('Every process that carries a patch'),
      name: nameFlag,
      id: {
        kind: 'parsed',
        parse: patchId,
        brief: 'With --all: only processes that carry this patch',
        optional: true,
        placeholder: 'NAME',
      },
      json: jsonFlag,
    },
  },
  async func(flags) {
    await answer(this, flags.all ? 'verify --all' : 'verify', flags, async () => {
      const pid = onePid(flags)
      if (pid === undefined) return (await import('../actions/verify-all.ts')).verifyAll(flags)
      if (flags.id !== undefined) throw new HotpatchError('USAGE', '--id chooses among all processes: give --all with it')
      return (await import('../actions/verify.ts')).verify(pid)
    })
  },
})
