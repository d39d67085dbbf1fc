import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { patchArgument, path } from '../parameters.ts'

interface Flags extends JsonFlag {
  readonly key: string
  readonly out?: string
}

export const signCommand = buildCommand<Flags, [patch: string], Context>({
  docs: {
    brief: 'Signs a patch image',
    fullDescription: [
      'Signs a patch image: the signature is kept in the file. An image is the same image before and after.',
      '',
      'Example: hotpatch sign --key vendor.key server.hotpatch.so',
    ].join('\n'),
  },
  parameters: {
    flags: {
      key: { kind: 'parsed', parse: path, brief: 'The private key (hotpatch keys generate)', placeholder: 'FILE' },
      out: {
        kind: 'parsed',
        parse: path,
        brief: 'Where the signed image is written (default: in place)',
        optional: true,
        placeholder: 'FILE',
      },
      json: jsonFlag,
    },
    aliases: { o: 'out' },
    positional: patchArgument,
  },
  async func(flags, patch) {
    await answer(this, 'sign', flags, async () => (await import('../actions/sign.ts')).sign(patch, flags.key, flags.out ?? patch))
  },
})
