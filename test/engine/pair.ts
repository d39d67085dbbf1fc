/** A program in its two builds, before and after a fix (-DFIXED), with its patch, from sources in a folder beside this file. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'
import type { PatchImage } from '../../src/patch/image.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import { kept, made } from '../brought.ts'

export interface Pair {
  readonly folder: string
  readonly program: string
  patch(options?: { id?: string; sequence?: number }): PatchImage
  /** The same as a file. */
  bytes(options?: { id?: string; sequence?: number }): Uint8Array
}

export interface PairOptions {
  /** Beside this file. */
  readonly sources: string
  readonly files: readonly string[]
  readonly compiler?: string
  readonly flags?: readonly string[]
  /** Its file name. */
  readonly program?: string
  /** For linking. */
  readonly libraries?: readonly string[]
}

export function buildPair(options: PairOptions): Pair {
  const { sources, files, compiler = 'gcc', flags = [], libraries = [], program: name = 'program' } = options
  const how: How = { sources, files, compiler, flags, libraries, name }
  const folder = made('pair', how, (into) => compile(how, into))
  const program = join(folder, name)
  const build = ({ id, sequence }: { id: string; sequence: number }): Uint8Array => {
    const [before, after] = [join(folder, 'before'), join(folder, 'after')]
    const built = buildPatch({ before, after, base: program, sequence, id, description: 'the fix', cves: [] })
    if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
    return built.image
  }
  const bytes: Pair['bytes'] = ({ id = 'pair-1', sequence = 1 } = {}) => kept(folder, `${id}-${sequence}.so`, () => build({ id, sequence }))
  return { folder, program, bytes, patch: (wanted) => readPatchImage(bytes(wanted)) }
}

type How = Required<Omit<PairOptions, 'program'>> & { readonly name: string }

function compile({ sources, files, compiler, flags, libraries, name }: How, folder: string): void {
  const from = fileURLToPath(new URL(`${sources}/`, import.meta.url))
  const common = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', ...flags]
  const object = (side: string, file: string): string => join(folder, side, file.replace(/\.\w+$/, '.o'))
  for (const [side, fix] of [
    ['before', []],
    ['after', ['-DFIXED']],
  ] as const) {
    mkdirSync(join(folder, side))
    for (const file of files) execFileSync(compiler, [...common, ...fix, '-c', join(from, file), '-o', object(side, file)], { cwd: from })
  }
  const objects = files.map((file) => object('before', file))
  execFileSync(compiler, [...flags, '-pthread', ...objects, ...libraries, '-Wl,--build-id=sha1', '-o', join(folder, name)])
}
