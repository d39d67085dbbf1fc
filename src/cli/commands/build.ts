import { buildCommand as command } from '@stricli/core'
import type { BuildFlags } from '../actions/build.ts'
import { answer, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { cveId, patchId, path, sequenceNumber } from '../parameters.ts'

export const buildCommand = command<BuildFlags, [], Context>({
  docs: {
    brief: 'Makes a patch image from two builds and the base image',
    fullDescription: [
      'Makes a patch image from two builds and the base image: extracts the changed and new functions with what they need, and',
      'resolves every reference to what did not change to the base image. Refuses, with all reasons, what cannot be hotpatched.',
      '',
      'Example: hotpatch build --before obj-before/ --after obj-after/ --base server -o server.hotpatch.so --cve CVE-2023-0809',
    ].join('\n'),
  },
  parameters: {
    flags: {
      before: { kind: 'parsed', parse: path, brief: 'Object file, archive or folder of the build before the fix', placeholder: 'DIR' },
      after: { kind: 'parsed', parse: path, brief: 'The same of the build after the fix', placeholder: 'DIR' },
      base: { kind: 'parsed', parse: path, brief: 'The program, library or DLL that runs, linked from BEFORE', placeholder: 'IMAGE' },
      symbols: {
        kind: 'parsed',
        parse: path,
        brief: 'Debug file, PDB or linker map of a stripped base image, or a folder of them; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'FILE',
      },
      out: { kind: 'parsed', parse: path, brief: 'Where the patch image is written', placeholder: 'PATCH' },
      sequence: {
        kind: 'parsed',
        parse: sequenceNumber,
        brief: 'Position in the series of patches for this base',
        default: '1',
        placeholder: 'N',
      },
      id: {
        kind: 'parsed',
        parse: patchId,
        brief: 'Name of the patch (default: the base image and the sequence number)',
        optional: true,
        placeholder: 'NAME',
      },
      description: { kind: 'parsed', parse: String, brief: 'A sentence for people', default: '', placeholder: 'TEXT' },
      cve: {
        kind: 'parsed',
        parse: cveId,
        brief: 'A vulnerability that the patch closes; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'ID',
      },
      json: jsonFlag,
    },
    aliases: { o: 'out' },
  },
  async func(flags) {
    await answer(this, 'build', flags, async () => (await import('../actions/build.ts')).build(flags))
  },
})
