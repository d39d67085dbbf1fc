/** What is made once and kept, under a key of everything that it depends on. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cache } from '../places.ts'

export interface Cached {
  readonly folder: string
  readonly key: string
}

/**
 * The folder in the cache that `make` has filled, now or in an earlier run; it is there whole or not at all. Throws what `make` throws.
 * @param files files beside this one whose text the result depends on
 * @param more what else it depends on
 */
export async function cached(files: readonly string[], more: string, make: (folder: string) => Promise<void>): Promise<Cached> {
  const texts = files.map((name) => readFileSync(fileURLToPath(new URL(name, import.meta.url))))
  const key = createHash('sha256').update(Buffer.concat(texts)).update(more).digest('hex').slice(0, 16)
  return { folder: await kept(join(cache, 'arm64', key), make), key }
}

/** `folder`, which `make` has filled, now or in an earlier run; it is there whole or not at all. Throws what `make` throws. */
export async function kept(folder: string, make: (folder: string) => Promise<void>): Promise<string> {
  if (!existsSync(folder)) {
    const part = `${folder}.${process.pid}.part`
    rmSync(part, { recursive: true, force: true })
    mkdirSync(part, { recursive: true })
    try {
      await make(part)
      if (!existsSync(folder)) renameSync(part, folder)
    } finally {
      rmSync(part, { recursive: true, force: true })
    }
  }
  return folder
}
