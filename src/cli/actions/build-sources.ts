/** `hotpatch build --source`: both builds, the images that the fix concerns, and a patch for each. */
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { planPatches, writeTogether } from '../../builder/build.ts'
import { HotpatchError } from '../../errors.ts'
import { buildTwice, type TwiceBuilt } from '../../sources/two-builds.ts'
import type { Answer } from '../answer.ts'
import { dim } from '../words.ts'
import { type BuildFlags, type BuildInputs, optionsFor, patchIds } from './build.ts'
import { answerFor } from './build-update.ts'
import { isFolder, makeFolder, patchFiles } from './patch-files.ts'

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

  const files = isFolder(flags.out)
    ? patchFiles(
        flags.out,
        inputs.map(({ base }) => base),
      )
    : [flags.out]
  const ids =
    inputs.length === 1
      ? [flags.id]
      : patchIds(
          inputs.map(({ base }) => base),
          flags,
        )
  // One that is refused refuses all: nothing is written before all are made.
  const options = inputs.map((input, i) => optionsFor(input, { ...flags, ...(ids[i] !== undefined && { id: ids[i] }) }))
  const outcomes = planPatches(options, (i, make) => {
    const { image } = inputs[i] as Chosen
    progress(`making the patch for ${image.name}: ${image.different.length} of its objects differ`)
    return namingImage(image.name, inputs.length, make)
  })
  const makeRoom = () => (isFolder(flags.out) ? makeFolder(flags.out) : undefined)
  const answer = answerFor(writeTogether(outcomes), files, makeRoom, builds.work)
  return { ...answer, words: [...answer.words, kept] }
}

/** Where there are several images, a refusal says which of them it is about. */
function namingImage<T>(name: string, count: number, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (count === 1 || !(error instanceof HotpatchError) || error.code !== 'REFUSED') throw error
    throw new HotpatchError('REFUSED', `${name} cannot be patched: ${error.detail}; no patch was made for any of the images`, {
      cause: error,
      facts: { ...error.facts, images: [name] },
    })
  }
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

/** The images that patches are made for: those that were named, or all that changed objects were linked into. */
function choose(images: readonly TwiceBuilt[], { base, out }: BuildFlags): Chosen[] {
  const concerned = images.filter(({ different }) => different.length > 0)
  if (base !== undefined && (base.length === 1 || isFolder(out))) return base.map((one) => named(images, one))
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
