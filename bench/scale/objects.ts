/** Sets of many objects, made quickly: one source is compiled, and its copies get names of their own in their string tables. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clone } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'

const FLAGS = ['-O2', '-fPIC', '-fvisibility=hidden', '-ffunction-sections', '-fdata-sections', '-fno-asynchronous-unwind-tables']
/** As many objects go into one folder. */
const PER_FOLDER = 250

export interface ObjectSet {
  readonly before: string
  /** A few objects differ by the fix, all others are the same byte for byte. */
  readonly fixed: string
  /** The same fix in a build in which every object differs by what no process notices. */
  readonly rebuilt: string
  readonly base: string
}

/** `count` objects of each build below `place`, and the library that is linked from those before. */
export async function makeObjects(place: string, count: number): Promise<ObjectSet> {
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  // The compiler puts the source's name into the symbol table: so that has the token, too.
  const source = join(place, 'S00000.c')
  copyFileSync(join(clone, 'bench/scale/module.c'), source)
  const compile = async (name: string, ...flags: string[]): Promise<Buffer> => {
    const out = join(place, `${name}.o`)
    await mustRun('gcc', [...FLAGS, ...flags, '-c', source, '-o', out])
    return readFileSync(out)
  }
  const one = new Template(await compile('before', '-DBUILD="one"'))
  const oneFixed = new Template(await compile('fixed', '-DBUILD="one"', '-DFIXED'))
  const two = new Template(await compile('rebuilt', '-DBUILD="two"'))
  const twoFixed = new Template(await compile('rebuilt-fixed', '-DBUILD="two"', '-DFIXED'))
  const isFixed = (i: number): boolean => i % Math.ceil(count / 3) === 1
  const objects = write(join(place, 'before'), count, () => one)
  write(join(place, 'after'), count, (i) => (isFixed(i) ? oneFixed : one))
  write(join(place, 'after-rebuilt'), count, (i) => (isFixed(i) ? twoFixed : two))
  const list = join(place, 'objects.txt')
  writeFileSync(list, objects.join('\n'))
  const base = join(place, 'libscale.so')
  await mustRun('gcc', ['-shared', '-nostdlib', '-Wl,--build-id=sha1', '-o', base, `@${list}`])
  return { before: join(place, 'before'), fixed: join(place, 'after'), rebuilt: join(place, 'after-rebuilt'), base }
}

function write(folder: string, count: number, of: (index: number) => Template): string[] {
  const paths: string[] = []
  for (let i = 0; i < count; i++) {
    const within = join(folder, `part${Math.floor(i / PER_FOLDER)}`)
    if (i % PER_FOLDER === 0) mkdirSync(within, { recursive: true })
    const path = join(within, `module${number(i)}.o`)
    writeFileSync(path, of(i).named(i, (i + 1) % count))
    paths.push(path)
  }
  return paths
}

const number = (index: number): string => `${index}`.padStart(5, '0')

/** An object whose names can be given numbers. */
class Template {
  readonly #bytes: Buffer
  readonly #own: readonly number[]
  readonly #next: readonly number[]

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#own = placesOf(bytes, 'S00000')
    this.#next = placesOf(bytes, 'N00000')
  }

  named(own: number, next: number): Buffer {
    const bytes = Buffer.from(this.#bytes)
    for (const at of this.#own) bytes.write(number(own), at + 1, 'latin1')
    for (const at of this.#next) bytes.write(number(next), at + 1, 'latin1')
    return bytes
  }
}

function placesOf(bytes: Buffer, token: string): number[] {
  const places: number[] = []
  for (let at = bytes.indexOf(token); at >= 0; at = bytes.indexOf(token, at + 1)) places.push(at)
  return places
}
