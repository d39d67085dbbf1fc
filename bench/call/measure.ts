/** What a patched call costs more than an unpatched one, in a live process that hotpatch has patched. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { type Figure, median } from '../figure.ts'

const CALLS = 100_000_000
const ROUNDS = 9
const HERE = join(clone, 'bench/call')
const KINDS = ['plain', 'padded'] as const
type Kind = (typeof KINDS)[number]

export async function measureCalls(): Promise<Figure[]> {
  const place = join(workshop, 'bench/call')
  const base = await build(place)
  const patch = join(place, 'patch.so')
  await hotpatch('build', '--before', join(place, 'before'), '--after', join(place, 'after'), '--base', base, '-o', patch)
  const caller = new Caller(base)
  try {
    const rounds: Round[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const unpatched = await caller.measure()
      await hotpatch('apply', '--allow-unsigned', '--pid', `${caller.pid}`, patch)
      const patched = await caller.measure()
      await hotpatch('rollback', '--pid', `${caller.pid}`)
      rounds.push({ unpatched, patched })
    }
    return KINDS.flatMap((kind) => figures(kind, rounds))
  } finally {
    await caller.stop()
  }
}

/** One turn of each, one right after the other: a change of the processor's pace meets both. */
interface Round {
  readonly unpatched: PerCall
  readonly patched: PerCall
}

/** Nanoseconds. */
type PerCall = Readonly<Record<Kind, number>>

const TITLES: Readonly<Record<Kind, string>> = {
  plain: 'a function redirected at its first bytes',
  padded: 'a function with -fpatchable-function-entry',
}

function figures(kind: Kind, rounds: readonly Round[]): Figure[] {
  const [patched, unpatched] = [rounds.map((round) => round.patched[kind]), rounds.map((round) => round.unpatched[kind])]
  const more = median(rounds.map((round) => round.patched[kind] - round.unpatched[kind]))
  const beside = { name: 'unpatched', value: median(unpatched) }
  return [
    { name: `call of ${TITLES[kind]}`, value: median(patched), unit: 'ns', beside, runs: ROUNDS },
    { name: '  more than unpatched', value: more, unit: 'ns', limit: 1, runs: ROUNDS },
  ]
}

/** The program; its objects lie in `before`, those with the other constant in `after`. */
async function build(place: string): Promise<string> {
  rmSync(place, { recursive: true, force: true })
  const flags = ['-O2', '-ffunction-sections', '-fdata-sections', `-DCALLS=${CALLS}L`, `-ffile-prefix-map=${clone}=.`]
  for (const [folder, mix] of [
    ['before', '0x9e3779b97f4a7c15'],
    ['after', '0xd6e8feb86659fd93'],
  ] as const) {
    mkdirSync(join(place, folder), { recursive: true })
    for (const name of ['main', 'step'])
      await mustRun('gcc', [...flags, `-DMIX=${mix}UL`, '-c', join(HERE, `${name}.c`), '-o', join(place, folder, `${name}.o`)])
  }
  const program = join(place, 'call')
  await mustRun('gcc', [join(place, 'before/main.o'), join(place, 'before/step.o'), '-o', program])
  return program
}

const hotpatch = (...args: string[]) => mustRun(process.execPath, [join(clone, 'bin/hotpatch'), ...args], { timeout: 60_000 })

/** The live program. */
class Caller {
  private readonly child: ChildProcess
  private readonly lines: AsyncIterator<string>
  private readonly reader: Interface

  constructor(program: string) {
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.child = child
    this.reader = createInterface({ input: child.stdout })
    this.lines = this.reader[Symbol.asyncIterator]()
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  async measure(): Promise<PerCall> {
    return { plain: await this.once('plain'), padded: await this.once('padded') }
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.child.on('exit', () => resolve()))
    this.reader.close()
    this.child.kill('SIGKILL')
    await ended
  }

  private async once(kind: Kind): Promise<number> {
    this.child.stdin?.write(`${kind}\n`)
    const { value, done } = await this.lines.next()
    if (done) throw new Error('the measured program ended')
    return Number.parseFloat(value)
  }
}
