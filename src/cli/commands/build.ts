import { buildCommand as command } from '@stricli/core'
import type { BuildFlags } from '../actions/build.ts'
import { answer, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { acceptance, cveId, patchId, path, sequenceNumber, sourceDiffFlag, stripCount } from '../parameters.ts'

export const buildCommand = command<BuildFlags, string[], Context>({
  docs: {
    brief: 'Makes a patch image from two builds and the base image, or from the source and the fix',
    fullDescription: [
      'Makes a patch image from two builds and the base image: extracts the changed and new functions with what they need, and',
      'resolves every reference to what did not change to the base image. Refuses, with all reasons, what cannot be hotpatched.',
      '',
      'With several --base it finds which of them the changed objects went into, and writes a patch image for each of these into the folder -o,',
      'named after it (libx.so: libx.hotpatch.so). Where one is refused, none is written. Apply them in one call: hotpatch apply takes several.',
      '',
      'With --source it makes the two builds itself: in a copy of the tree, before and after the fix is applied, with the flags that are',
      'needed added to every call of a compiler (gcc, clang, mingw, called by name from make, cmake, ninja, configure scripts). It finds the',
      'images that the changed objects were linked into; --base names one, or gives the one that was shipped.',
      '',
      'Example: hotpatch build --before obj-before/ --after obj-after/ --base server -o server.hotpatch.so --cve CVE-2023-0809',
      'Example: hotpatch build --before obj-before/ --after obj-after/ --base server --base libx.so -o patches/',
      "Example: hotpatch build --source server-2.0.10/ --diff CVE-2023-0809.patch -o server.hotpatch.so -- sh -c './configure && make -j4'",
    ].join('\n'),
  },
  parameters: {
    flags: {
      before: {
        kind: 'parsed',
        parse: path,
        brief: 'Object file, archive or folder of the build before the fix',
        optional: true,
        placeholder: 'DIR',
      },
      after: { kind: 'parsed', parse: path, brief: 'The same of the build after the fix', optional: true, placeholder: 'DIR' },
      base: {
        kind: 'parsed',
        parse: path,
        brief: 'The program, library or DLL that runs, linked from BEFORE; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'IMAGE',
      },
      source: {
        kind: 'parsed',
        parse: path,
        brief: 'The source tree before the fix; it stays as it is',
        optional: true,
        placeholder: 'DIR',
      },
      diff: { kind: 'parsed', parse: path, brief: 'The fix, a unified diff', optional: true, placeholder: 'FILE' },
      strip: {
        kind: 'parsed',
        parse: stripCount,
        brief: 'Folders to take off the paths in the diff (default: 1, or 0 where that fits)',
        optional: true,
        placeholder: 'N',
      },
      work: {
        kind: 'parsed',
        parse: path,
        brief: 'Folder for both builds, emptied first (default: one in the cache)',
        optional: true,
        placeholder: 'DIR',
      },
      sourceDiff: sourceDiffFlag,
      symbols: {
        kind: 'parsed',
        parse: path,
        brief: 'Debug file, PDB or linker map of a stripped base image, PDB with types, or a folder of them; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'FILE',
      },
      accept: {
        kind: 'parsed',
        parse: acceptance,
        brief: 'A reason that was looked into and is not to refuse the patch; recorded in it; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'CODE:SYMBOL',
      },
      library: {
        kind: 'parsed',
        parse: path,
        brief: 'A library (.so, .dll.a, .lib, .dll) that the fix uses and IMAGE does not; may be given several times',
        optional: true,
        variadic: true,
        placeholder: 'FILE',
      },
      out: {
        kind: 'parsed',
        parse: path,
        brief: 'Where the patch image is written; for several base images a folder',
        placeholder: 'PATCH',
      },
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
    positional: {
      kind: 'array',
      parameter: { brief: 'With --source: the build command, run in the copy of the tree', parse: String, placeholder: 'COMMAND' },
    },
  },
  async func(flags, ...words) {
    const progress = (line: string) => (flags.json ? undefined : this.process.stderr.write(`${line}\n`))
    await answer(this, 'build', flags, async () => {
      if (flags.source === undefined && words.length === 0) {
        const several = (flags.base ?? []).length > 1
        return several
          ? (await import('../actions/build-update.ts')).buildSeveral(flags)
          : (await import('../actions/build.ts')).build(flags)
      }
      return (await import('../actions/build-sources.ts')).buildFromSource(flags, words, progress)
    })
  },
})
