import { buildCommand } from '@stricli/core'
import type { ApplyFlags } from '../actions/apply.ts'
import { answer, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import {
  allFlag,
  CONSISTENCY,
  consistencyFlag,
  forceFlag,
  nameFlag,
  onePid,
  patchArguments,
  pidFlag,
  timeoutFlag,
  type WhichFlags,
  waitForReturnFlag,
} from '../parameters.ts'

export const applyCommand = buildCommand<Omit<ApplyFlags, 'pid'> & WhichFlags, string[], Context>({
  docs: {
    brief: 'Puts a patch into a running process',
    fullDescription: [
      'Puts a patch into a running process: loads the patch image beside the base image and switches the changed functions at one',
      'instant. Prints what was redirected and how long the process stood still. A patch that is applied already is no error.',
      ...CONSISTENCY,
      'A cumulative patch takes the place of an applied one with a lower sequence number, in the same instant.',
      'Several patch images, for different base images of the process, go in at the same instant, all or none.',
      'A thread that is inside a function that changes is waited for (--timeout); if it stays there, it is named and nothing is changed.',
      'With --all it goes to every process that maps the base image, one after the other, each with its own outcome and the whole of --timeout.',
      'A process that ends meanwhile is no error; one that runs another build of the base image is left alone and told of.',
      'The patch image must be signed with a key that this machine trusts (hotpatch keys).',
      '',
      'Example: hotpatch apply --pid 4711 server.hotpatch.so',
      'Example: hotpatch apply --pid 4711 server.hotpatch.so libx.hotpatch.so',
      'Example: hotpatch apply --all server.hotpatch.so',
    ].join('\n'),
  },
  parameters: {
    flags: {
      pid: pidFlag,
      all: allFlag('Every process that maps the base image'),
      name: nameFlag,
      timeout: timeoutFlag,
      consistency: consistencyFlag,
      waitForReturn: waitForReturnFlag,
      force: forceFlag,
      allowUnsigned: {
        kind: 'boolean',
        brief: 'Take a patch image that nobody has signed, or whose signer is not trusted',
        default: false,
        withNegated: false,
      },
      json: jsonFlag,
    },
    positional: patchArguments,
  },
  async func(flags, ...patches) {
    await answer(this, flags.all ? 'apply --all' : 'apply', flags, async () => {
      const pid = onePid(flags)
      const [patch = '', ...others] = patches
      if (others.length > 0) {
        const { applySeveral, applySeveralEverywhere } = await import('../actions/apply-several.ts')
        return pid === undefined ? applySeveralEverywhere(patches, flags) : applySeveral(patches, { ...flags, pid })
      }
      if (pid === undefined) return (await import('../actions/apply-all.ts')).applyAll(patch, flags)
      return (await import('../actions/apply.ts')).apply(patch, { ...flags, pid })
    })
  },
})
