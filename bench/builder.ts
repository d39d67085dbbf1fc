/** How long `hotpatch diff` and `hotpatch build` take over all objects of a real program, from process start to exit. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { clone, workshop } from '../tools/places.ts'
import { builtEntry } from './cves/build.ts'
import type { TargetName } from './cves/targets.ts'
import { type Figure, median } from './figure.ts'

const ENTRY = 'mosquitto--CVE-2023-0809'
const RUNS = 7
/** Milliseconds from process start to exit. */
const LIMIT = 1000

export async function measureBuilder(): Promise<Figure[]> {
  const start = timed('node', ['-e', '0'])
  const figures: Figure[] = [{ name: 'start of Node alone', value: start, unit: 'ms', runs: RUNS }]
  for (const target of ['elf-x64', 'pe-x64'] as const) figures.push(...(await overObjects(target)))
  return figures
}

async function overObjects(target: TargetName): Promise<Figure[]> {
  const suffix = target === 'pe-x64' ? ['.exe', '.dll'] : ['', '.so']
  const { before, after, images } = await builtEntry(ENTRY, target)
  const image = images.find(({ file }) => file === `mosquitto${suffix[0]}`)
  if (image === undefined) throw new Error(`the build of ${ENTRY} has no broker`)
  const [old, new_] = [join(before, image.objects), join(after, image.objects)]
  const objects = [old, new_].flatMap(objectsIn)
  const title = `mosquitto's ${objects.length} objects, ${target}`
  const beside = { name: 'objdump -d of the same', value: timed('objdump', ['-d', ...objects]) }
  mkdirSync(join(workshop, 'bench'), { recursive: true })
  const patch = join(workshop, `bench/mosquitto${suffix[1]}`)
  const build = ['build', '--before', old, '--after', new_, '--base', join(before, image.file), '-o', patch]
  return [
    { name: `diff of ${title}`, value: hotpatch(['diff', old, new_]), unit: 'ms', limit: LIMIT, beside, runs: RUNS },
    { name: `build from ${title}`, value: hotpatch(build), unit: 'ms', limit: LIMIT, beside, runs: RUNS },
  ]
}

const objectsIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((found) => found.isFile() && /\.(o|obj)$/.test(found.name))
    .map((found) => join(found.parentPath, found.name))

const hotpatch = (args: readonly string[]) => timed(process.execPath, [join(clone, 'bin/hotpatch'), ...args])

/** Median milliseconds from start to exit. What the program prints goes nowhere, so that taking it costs nothing. */
function timed(program: string, args: readonly string[]): number {
  const taken: number[] = []
  for (let run = 0; run < RUNS; run++) {
    const began = performance.now()
    const { status } = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    if (status !== 0) throw new Error(`${program} ${args.slice(0, 8).join(' ')} ended with ${status}`)
    taken.push(performance.now() - began)
  }
  return median(taken)
}
