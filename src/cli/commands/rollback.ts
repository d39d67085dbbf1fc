import { buildCommand } from '@stricli/core'
import type { RollbackFlags } from '../actions/rollback.ts'
import { answer, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import {
  allFlag,
  CONSISTENCY,
  consistencyFlag,
  nameFlag,
  onePid,
  patchId,
  pidFlag,
  sequenceNumber,
  timeoutFlag,
  type WhichFlags,
  waitForReturnFlag,
} from '../parameters.ts'

export const rollbackCommand = buildCommand<Omit<RollbackFlags, 'pid'> & WhichFlags, [], Context>({
  docs: {
    brief: 'Undoes a patch in a running process',
    fullDescription: [
      'Undoes a patch in a running process: every original byte is restored at one instant. Where nothing is patched, that is no error.',
      'With --all it is undone in every process that carries it (--id says which patch).',
      'With several --id, patches of different base images are undone at one instant, all or none.',
      'With --to, the patch that it had superseded is in place again instead.',
      ...CONSISTENCY,
      'A thread that is inside the patch is waited for (--timeout); if it stays there, it is named and nothing is changed.',
      '',
      'Example: hotpatch rollback --pid 4711 --id server-1',
      'Example: hotpatch rollback --pid 4711 --id server-1 --id libx-1',
      'Example: hotpatch rollback --all --id server-1',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: pidFlag,
      all: allFlag('Every process that carries the patch'),
      name: nameFlag,
      id: {
        kind: 'parsed',
        parse: patchId,
        brief: 'Which patch, where several are applied or with --all; several times: all at one instant',
        optional: true,
        variadic: true,
        placeholder: 'NAME',
      },
      to: {
        kind: 'parsed',
        parse: sequenceNumber,
        brief: 'Back to the patch that it superseded, which has this sequence number, instead of to the original program',
        optional: true,
        placeholder: 'SEQUENCE',
      },
      timeout: timeoutFlag,
      consistency: consistencyFlag,
      waitForReturn: waitForReturnFlag,
      json: jsonFlag,
    },
  },
  async func(flags) {
    await answer(this, flags.all ? 'rollback --all' : 'rollback', flags, async () => {
      const pid = onePid(flags)
      if (pid === undefined) return (await import('../actions/rollback-all.ts')).rollbackAll(flags)
      return (await import('../actions/rollback.ts')).rollback({ ...flags, pid })
    })
  },
})
