/** `hotpatch diff` and `build` over sets of 100, 1,000 and 10,000 objects: time and memory from process start to exit. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { clone, workshop } from '../../tools/places.ts'
import { type Figure, median } from '../figure.ts'
import { makeObjects } from './objects.ts'

const COUNTS = [100, 1_000, 10_000] as const
const RUNS = 3
/** Promised for sets of about 1,000 objects. */
const LIMIT = { objects: 1_000, ms: 2_000, megabytes: 500 } as const

/** Tells the most memory that the process had, in kB, when it ends. */
const MEMORY = `data:text/javascript,import{writeSync}from'node:fs';process.on('exit',()=>writeSync(2,'\\nmaxrss '+process.resourceUsage().maxRSS))`

export async function measureScale(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const count of COUNTS) {
    const { before, fixed, rebuilt, base } = await makeObjects(join(workshop, `bench/scale-${count}`), count)
    const out = join(workshop, 'bench', 'scale-patch.so')
    const of = (after: string) => ['build', '--before', before, '--after', after, '--base', base, '-o', out]
    const title = `${count.toLocaleString('en')} objects`
    figures.push(
      ...measure(`diff of ${title}, 3 of them changed`, count, ['diff', before, fixed]),
      ...measure(`build from ${title}, 3 of them changed`, count, of(fixed)),
      ...measure(`diff of ${title}, no two the same`, count, ['diff', before, rebuilt]),
      ...measure(`build from ${title}, no two the same`, count, of(rebuilt)),
    )
  }
  return figures
}

function measure(name: string, count: number, args: readonly string[]): Figure[] {
  const times: number[] = []
  const memory: number[] = []
  for (let run = 0; run < RUNS; run++) {
    const began = performance.now()
    const ran = spawnSync(process.execPath, ['--import', MEMORY, join(clone, 'bin/hotpatch'), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    })
    times.push(performance.now() - began)
    const most = /maxrss (\d+)\s*$/.exec(ran.stderr)?.[1]
    if (ran.status !== 0 || most === undefined)
      throw new Error(`hotpatch ${args.slice(0, 3).join(' ')} ended with ${ran.status}: ${ran.stderr}`)
    memory.push(Number(most) / 1024)
  }
  const promised = count <= LIMIT.objects
  return [
    { name, value: median(times), unit: 'ms', ...(promised ? { limit: LIMIT.ms } : {}), runs: RUNS },
    { name: '  most memory', value: median(memory), unit: 'MB', ...(promised ? { limit: LIMIT.megabytes } : {}), runs: RUNS },
  ]
}
