/** Which base reader and back end is for which image. */
import { HotpatchError } from '../errors.ts'
import { readInput } from '../files.ts'
import type { BaseImage } from './base-image.ts'
import { readElfBase } from './elf/base.ts'
import { writeElfPatch } from './elf/writer.ts'
import { inputFormat } from './formats.ts'
import { readPeBase } from './pe/base.ts'
import { writePePatch } from './pe/writer.ts'
import type { PatchPlan } from './plan.ts'

/** Throws FILE_UNREADABLE, FORMAT_UNKNOWN and what the readers throw. */
export function readBase(path: string): BaseImage {
  const data = readInput(path)
  switch (inputFormat(data)) {
    case 'pe-image':
      return readPeBase(data, path)
    case 'elf-image':
      return readElfBase(data, path)
    default:
      throw new HotpatchError('FORMAT_UNKNOWN', `${path} is no linked program or library`)
  }
}

export const writePatch = (plan: PatchPlan): Uint8Array => (plan.base.format === 'pe' ? writePePatch(plan) : writeElfPatch(plan))
