/** Where the patch images of one update are written: a file for each in a folder, all or none. */
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { HotpatchError } from '../../errors.ts'
import { writeOutput } from '../../files.ts'

export const isFolder = (path: string): boolean => path.endsWith('/') || (existsSync(path) && statSync(path).isDirectory())

/** For each base image its patch's file: `libx.so` gives `libx.hotpatch.so`. Throws USAGE where two would have one name. */
export function patchFiles(folder: string, bases: readonly string[]): string[] {
  const short = bases.map((base) => patchName(base, basename(base, extname(base))))
  // A program and a DLL may differ in their endings alone.
  const names = bases.map((base, i) =>
    short.indexOf(short[i] ?? '') === short.lastIndexOf(short[i] ?? '') ? short[i] : patchName(base, basename(base)),
  )
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i)
  if (twice >= 0)
    throw new HotpatchError('USAGE', `two base images are called ${basename(bases[twice] ?? '')}: their patches would have one name`)
  return names.map((name) => join(folder, name ?? ''))
}

const patchName = (base: string, stem: string): string => `${stem}.hotpatch${/^\.(exe|dll|sys)$/i.test(extname(base)) ? '.dll' : '.so'}`

export interface PatchFile {
  readonly file: string
  readonly image: Uint8Array
}

/** All are written before the first gets its name. Throws FILE_UNWRITABLE. */
export function writePatches(files: readonly PatchFile[]): void {
  const beside = files.map(({ file, image }) => ({ file, image, part: `${file}.part` }))
  try {
    for (const { part, image } of beside) writeOutput(part, image)
    for (const { part, file } of beside) renameSync(part, file)
  } catch (cause) {
    for (const { part } of beside) rmSync(part, { force: true })
    throw cause instanceof HotpatchError ? cause : new HotpatchError('FILE_UNWRITABLE', String((cause as Error).message), { cause })
  }
}

/** Throws FILE_UNWRITABLE. */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true })
  } catch (cause) {
    throw new HotpatchError('FILE_UNWRITABLE', `${path}: ${(cause as Error).message}`, { cause })
  }
}
