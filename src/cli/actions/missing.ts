/** Patches that were made in one update with those given, and were not given. */
import type { PatchImage } from '../../patch/image.ts'
import { strong } from '../words.ts'

export interface Missing {
  readonly id: string
  /** The base image that it is for. */
  readonly base: string
}

export function missingOf(images: readonly PatchImage[]): Missing[] {
  const given = new Set(images.map(({ manifest }) => manifest.id))
  const others = images.flatMap(({ manifest }) => manifest.together ?? []).filter(({ id }) => !given.has(id))
  return [...new Map(others.map((other) => [other.id, other])).values()]
}

export const missingLines = (missing: readonly Missing[]): string[] =>
  missing.map(
    ({ id, base }) => `  made in one update with ${strong(id)} for ${base}, which was not given: where that image runs, apply it, too`,
  )
