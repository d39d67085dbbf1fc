import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { path, sourceDiffFlag } from '../parameters.ts'

interface DiffFlags extends JsonFlag {
  readonly sourceDiff?: string
  readonly symbols?: readonly string[]
}

export const diffCommand = buildCommand<DiffFlags, [before: string, after: string], Context>({
  docs: {
    brief: 'Lists what differs between two builds, and whether each difference can be hotpatched',
    fullDescription: [
      'Lists what differs between two builds, and whether each difference can be hotpatched.',
      '',
      'BEFORE and AFTER are object files, archives, or folders of them (ELF or COFF), compiled with',
      '-ffunction-sections -fdata-sections.',
      '',
      'Example: hotpatch diff build-2.0.10/ build-2.0.11/',
    ].join('\n'),
  },
  parameters: {
    flags: {
      sourceDiff: sourceDiffFlag,
      symbols: {
        kind: 'parsed',
        parse: path,
        brief: 'PDB with the types of objects that have none themselves, or a folder of them; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'FILE',
      },
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'The build before the fix', parse: path, placeholder: 'BEFORE' },
        { brief: 'The build after the fix', parse: path, placeholder: 'AFTER' },
      ],
    },
  },
  async func(flags, before, after) {
    await answer(this, 'diff', flags, async () => (await import('../actions/diff.ts')).diff(before, after, flags.sourceDiff, flags.symbols))
  },
})
