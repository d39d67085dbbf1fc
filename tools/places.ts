/** Where the things around the product lie. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The clone's folder. */
export const clone = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

/** What may be deleted at any time and is shared by all clones of this user: downloads, builds of others' programs. */
export const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hotpatch')

/** What belongs to this clone alone and may be deleted at any time: builds of the demo's server, patch images. */
export const workshop = join(clone, '.cache')
