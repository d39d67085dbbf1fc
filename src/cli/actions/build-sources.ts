/** `hotpatch build --source`: both builds, the images that the fix concerns, and a patch for each. */
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import type { BuildReport } from '../../builder/report.ts'
import { HotpatchError } from '../../errors.ts'
import { writeOutput } from '../../files.ts'
import { buildTwice, type TwiceBuilt } from '../../sources/two-builds.ts'
import { type Answer, done } from '../answer.ts'
import { dim } from '../words.ts'
import { type BuildFlags, type BuildInputs, builtWords, make, nothingWords } from './build.ts'

interface Written {
  readonly file: string
  readonly size: number
  readonly report: BuildReport
}

/** Throws USAGE, IMAGE_UNCLEAR, and what buildTwice and buildPatch throw. */
export async function buildFromSource(flags: BuildFlags, command: readonly string[], progress: (text: string) => void): Promise<Answer> {
  const { source, diff, strip, work } = flags
  if (source === undefined || diff === undefined || command.length === 0)
    throw new HotpatchError('USAGE', 'a build from source needs --source, --diff, and the build command behind --')
  if (flags.before !== undefined || flags.after !== undefined)
    throw new HotpatchError('USAGE', '--before and --after are builds that are there; with --source they are made')
  const builds = await buildTwice({ source, diff, strip, work, command, progress })
  const kept = dim(`both builds are kept in ${builds.work}`)
  const inputs = choose(builds.images, flags)

  const written: Written[] = []
  let nothing: BuildReport | undefined
  for (const { image, ...files } of inputs) {
    progress(`making the patch for ${image.name}: ${image.different.length} of its objects differ`)
    const built = make(files, flags)
    if (built.outcome === 'nothing') {
      nothing ??= built.report
      continue
    }
    const file = isFolder(flags.out) ? join(flags.out, patchName(files.base)) : flags.out
    if (isFolder(flags.out)) mkdirSync(flags.out, { recursive: true })
    writeOutput(file, built.image)
    written.push({ file, size: built.image.length, report: built.report })
  }
  const [first, ...others] = written
  if (first === undefined)
    return done('nothing-to-patch', { report: nothing, work: builds.work }, [...nothingWords(nothing as BuildReport), kept])
  return done('built', { ...first, work: builds.work, ...(others.length > 0 && { others }) }, [
    ...written.flatMap(({ file, size, report }) => [...builtWords(file, size, report), '']),
    kept,
  ])
}

const isFolder = (path: string): boolean => path.endsWith('/') || (existsSync(path) && statSync(path).isDirectory())

function patchName(base: string): string {
  const ending = extname(base)
  return `${basename(base, ending)}.hotpatch${/^\.(exe|dll|sys)$/i.test(ending) ? '.dll' : '.so'}`
}

interface Chosen extends BuildInputs {
  readonly image: TwiceBuilt
}

const from = (image: TwiceBuilt, base = image.before.image): Chosen => ({
  image,
  before: image.before.objects,
  after: image.after.objects,
  base,
})

/** The images that patches are made for: the one that was named, or all that changed objects were linked into. */
function choose(images: readonly TwiceBuilt[], { base, out }: BuildFlags): Chosen[] {
  if (base !== undefined) return [named(images, base)]
  const concerned = images.filter(({ different }) => different.length > 0)
  if (concerned.length > 1 && !isFolder(out))
    throw new HotpatchError('IMAGE_UNCLEAR', `changed objects went into ${concerned.map(({ name }) => name).join(', ')}`)
  // Nothing differs: any image can say so.
  return (concerned.length > 0 ? concerned : images.slice(0, 1)).map((image) => from(image))
}

/** A file is the image that runs, and is known by its name among those that were built; else the name is that of one of these. */
function named(images: readonly TwiceBuilt[], base: string): Chosen {
  const shipped = existsSync(base)
  const found = images.filter(({ name }) =>
    shipped ? basename(name) === basename(base) : name === base || name.endsWith(`/${base.replace(/^\.?\/+/, '')}`),
  )
  const [image] = found
  if (image === undefined || found.length > 1)
    throw new HotpatchError(
      'IMAGE_UNCLEAR',
      `${image === undefined ? 'no image' : 'more than one image'} of the build is called ${basename(base)}: ${images.map(({ name }) => name).join(', ')}`,
    )
  return from(image, shipped ? base : undefined)
}
