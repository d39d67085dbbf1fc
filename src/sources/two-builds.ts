/**
 * A source tree and a fix in, two builds out. Both are made in one folder, since paths end up in objects; the second is the build
 * system's own incremental one. The tree that was given stays as it is.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { HotpatchError } from '../errors.ts'
import { readInput } from '../files.ts'
import { readCalls } from './calls.ts'
import { linkedImages } from './links.ts'
import { lastWords, run } from './run.ts'
import { type KeptImage, keep } from './snapshot.ts'
import { applyFix, copyTree, type Fix } from './tree.ts'
import { makeWrappers } from './wrappers.ts'

export interface SourceOptions extends Fix {
  readonly source: string
  /** The build command, run in the copy of the tree. */
  readonly command: readonly string[]
  /** Where everything is made; undefined: a folder of the cache, the same one for the same source. What is in it is removed first. */
  readonly work: string | undefined
  /** Told what begins or is done, a line at a time. */
  progress(text: string): void
}

/** An image in both builds. */
export interface TwiceBuilt {
  /** Relative to the source tree. */
  readonly name: string
  readonly before: KeptImage
  readonly after: KeptImage
  /** Objects and archives that are not the same byte for byte, or that one build alone has. */
  readonly different: readonly string[]
}

export interface TwoBuilds {
  /** Where both builds are kept. */
  readonly work: string
  /** By name. Images that one build alone has made are left out. */
  readonly images: readonly TwiceBuilt[]
}

/** Marks a folder that may be emptied. */
const MARK = '.hotpatch-builds'

/**
 * Throws BUILD_FAILED, BUILD_UNSEEN, DIFF_REJECTED, OBJECTS_GONE, TOOL_MISSING, FILE_UNREADABLE, FILE_UNWRITABLE.
 */
export async function buildTwice(options: SourceOptions): Promise<TwoBuilds> {
  const { source, command, progress } = options
  if (process.platform === 'win32') throw new HotpatchError('TOOL_MISSING', 'the stand-ins for compilers are shell scripts')
  // Before anything takes long.
  readInput(options.diff)
  const work = emptyFolder(options.work ?? cacheFor(source))
  const [tree, records] = [join(work, 'source'), join(work, 'calls')]
  progress(`copying ${source} to ${tree}`)
  copyTree(source, tree)
  const environment = {
    // The same dates in both builds.
    SOURCE_DATE_EPOCH: '1700000000',
    ...process.env,
    ...makeWrappers(join(work, 'compilers'), records, process.env),
  }
  const roots = { [tree]: '', [join(records, 'objects', tree)]: '.linked-at-once' }

  const build = async (which: 'before' | 'after'): Promise<readonly KeptImage[]> => {
    progress(`building ${which === 'before' ? 'before' : 'after'} the fix: ${command.join(' ')}`)
    const [log, began] = [join(work, `${which}.log`), performance.now()]
    const code = await run(command, { folder: tree, environment, log })
    if (code !== 0)
      throw new HotpatchError(
        'BUILD_FAILED',
        `the build ${which} the fix ended with ${code}; its last words (all in ${log}):\n${lastWords(log, 30)}`,
        {
          facts: { build: which, code, log },
        },
      )
    const calls = readCalls(records)
    const images = linkedImages(calls, Object.keys(roots))
    progress(`built in ${((performance.now() - began) / 1000).toFixed(1)} s: ${calls.length} calls of compilers, ${images.length} images`)
    if (images.length === 0)
      throw new HotpatchError('BUILD_UNSEEN', `${calls.length} calls of compilers were seen, and none that linked an image of the build`)
    return keep(images, roots, join(work, which))
  }
  const before = await build('before')
  progress(`applying ${options.diff}`)
  await applyFix(options, tree, join(work, 'patch.log'))
  const after = await build('after')
  return { work, images: paired(before, after) }
}

/** A folder of its own for each source tree: what is in paths stays the same from run to run. */
function cacheFor(source: string): string {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const whole = existsSync(source) ? realpathSync(source) : resolve(source)
  return join(cache, 'hotpatch/builds', `${basename(whole)}-${createHash('sha256').update(whole).digest('hex').slice(0, 8)}`)
}

function emptyFolder(folder: string): string {
  const path = resolve(folder)
  if (existsSync(path) && !existsSync(join(path, MARK)))
    throw new HotpatchError('FILE_UNWRITABLE', `${path} is there and was not made by hotpatch: what is in it would be lost`)
  try {
    rmSync(path, { recursive: true, force: true })
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, MARK), '')
    return realpathSync(path)
  } catch (cause) {
    throw new HotpatchError('FILE_UNWRITABLE', `${path}: ${(cause as Error).message}`, { cause })
  }
}

function paired(before: readonly KeptImage[], after: readonly KeptImage[]): TwiceBuilt[] {
  const images: TwiceBuilt[] = []
  for (const old of before) {
    const fixed = after.find(({ name }) => name === old.name)
    if (fixed !== undefined) images.push({ name: old.name, before: old, after: fixed, different: differing(old, fixed) })
  }
  return images
}

function differing(before: KeptImage, after: KeptImage): string[] {
  const same = (file: string): boolean =>
    before.files.includes(file) &&
    after.files.includes(file) &&
    readFileSync(join(before.objects, file)).equals(readFileSync(join(after.objects, file)))
  return [...new Set([...before.files, ...after.files])].filter((file) => !same(file)).sort()
}
