import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { path } from '../parameters.ts'

export const inspectCommand = buildCommand<JsonFlag, [file: string], Context>({
  docs: {
    brief: 'Shows a patch image, a program or library, or an object file',
    fullDescription: [
      'Shows what a file is to hotpatch.',
      'A patch image: the base image it is for, sequence, functions with RVAs and sizes, original bytes expected, imports, table chunks.',
      'A program or library: identity, machine, and for every function whether and how it can be redirected.',
      'An object file: its functions and data as the builder sees them.',
      '',
      'Example: hotpatch inspect server.hotpatch.so',
    ].join('\n'),
  },
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ brief: 'The file', parse: path, placeholder: 'FILE' }] },
  },
  async func(flags, file) {
    await answer(this, 'inspect', flags, async () => (await import('../actions/inspect.ts')).inspect(file))
  },
})
