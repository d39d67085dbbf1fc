/** What a patched call costs more than an unpatched one, in a live process that hotpatch has patched. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { type Figure, median } from '../figure.ts'

const CALLS = 100_000_000
const ROUNDS = 5
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
    const unpatched = await caller.rounds()
    await hotpatch('apply', '--pid', `${caller.pid}`, patch)
    const patched = await caller.rounds()
    await hotpatch('rollback', '--pid', `${caller.pid}`)
    const rolledBack = await caller.rounds()
    return KINDS.flatMap((kind) => figures(kind, unpatched[kind], patched[kind], rolledBack[kind]))
  } finally {
    await caller.stop()
  }
}

const TITLES: Readonly<Record<Kind, string>> = {
  plain: 'a function redirected at its first bytes',
  padded: 'a function with hotpatch padding',
}

function figures(kind: Kind, unpatched: number, patched: number, rolledBack: number): Figure[] {
  const beside = { name: 'unpatched', value: unpatched }
  return [
    { name: `call of ${TITLES[kind]}`, value: patched, unit: 'ns', beside, runs: ROUNDS },
    { name: '  more than unpatched', value: patched - unpatched, unit: 'ns', limit: 1, runs: ROUNDS },
    { name: '  after rollback', value: rolledBack, unit: 'ns', beside, runs: ROUNDS },
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

  /** Median nanoseconds a call; the kinds by turns, so that a change of the processor's pace meets both. */
  async rounds(): Promise<Record<Kind, number>> {
    const taken: Record<Kind, number[]> = { plain: [], padded: [] }
    for (let round = 0; round < ROUNDS; round++) for (const kind of KINDS) taken[kind].push(await this.once(kind))
    return { plain: median(taken.plain), padded: median(taken.padded) }
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
