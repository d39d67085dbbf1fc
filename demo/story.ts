/** The story of one subject on one target: open, patched, rolled back, patched again; all of it under load. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { heading, note, say, verdict } from '../tools/paper.ts'
import { type Answer, onFiles, onProcess } from './hotpatch.ts'
import type { Phase } from './phases.ts'
import type { Builds, Hole, Live, Subject } from './subject.ts'
import { keys, type Target } from './target.ts'

/** One line of the result. */
export interface Row {
  readonly phase: Phase
  readonly hole: Hole | undefined
  /** Microseconds that the process stood still in this phase. */
  readonly stop: number | undefined
}

export interface Told {
  readonly rows: readonly Row[]
  /** What did not come out as it must. */
  readonly failures: readonly string[]
}

/** How long the load runs undisturbed between two steps, in milliseconds. */
const CALM = 1500

export async function tell(subject: Subject, target: Target): Promise<Told> {
  heading(`${target.title}: ${subject.title}`)
  note('building the program before and after its fix')
  const builds = await subject.build(target)
  const live = await subject.start(target, builds)
  try {
    return await new Story(subject, target, builds, live).tell()
  } finally {
    await live.load.stop().catch(() => {})
    await live.server.stop()
  }
}

class Story {
  private readonly subject: Subject
  private readonly target: Target
  private readonly builds: Builds
  private readonly live: Live
  private readonly patch: string
  private readonly failures: string[] = []
  private readonly holes = new Map<number, Hole>()
  private readonly stops = new Map<number, number>()

  constructor(subject: Subject, target: Target, builds: Builds, live: Live) {
    this.subject = subject
    this.target = target
    this.builds = builds
    this.live = live
    this.patch = join(builds.place, `${subject.patchId}${target.patchSuffix}`)
  }

  async tell(): Promise<Told> {
    const { load } = this.live
    note(`process ${this.live.server.pid}; load: ${this.subject.loadTitle(this.target)}`)
    await this.calm('before', 'open')

    load.begin('patch is built and checked')
    await this.makePatch()
    const checked = await this.onLive(['check', this.patch])
    this.expect(checked.outcome === 'would-apply', 'check: the patch fits the process; nothing was changed', checked)

    await this.apply('apply', 'applied')
    await this.calm('patched', 'closed')
    await this.verify()
    await this.apply('apply once more', 'already-applied')

    load.begin('rollback')
    const rolledBack = await this.onLive(['rollback', ...this.subject.switching])
    this.noteStop(rolledBack)
    this.expect(rolledBack.outcome === 'rolled-back', 'rollback: the original bytes are back', rolledBack)
    await this.calm('rolled back', 'open')

    await this.apply('apply again', 'applied')
    await this.calm('patched again', 'closed')
    await this.verify()

    await load.stop()
    return this.result()
  }

  private async makePatch(): Promise<void> {
    const { before, after, base } = this.builds
    const { patchId, description, cves } = this.subject
    this.expect((await onFiles(['diff', before, after])) === 0, 'diff: every change can be hotpatched')
    const told = ['--id', patchId, '--description', description, ...cves.flatMap((id) => ['--cve', id])]
    const built = await onFiles(['build', '--before', before, '--after', after, '--base', base, '-o', this.patch, ...told])
    this.expect(built === 0, 'build: the patch image is written')
    this.expect((await onFiles(['inspect', this.patch])) === 0, 'inspect: the patch image is read back')
    await this.sign()
  }

  /** The vendor's part, and the machine's: whose patches it takes. */
  private async sign(): Promise<void> {
    const key = join(this.builds.place, 'vendor.key')
    for (const file of [key, `${key}.pub`, keys]) rmSync(file, { recursive: true, force: true })
    const made = await onFiles(['keys', 'generate', key])
    const signed = await onFiles(['sign', '--key', key, this.patch])
    const trusted = await onFiles(['keys', 'trust', 'vendor', `${key}.pub`])
    this.expect(made === 0 && signed === 0 && trusted === 0, 'sign: the patch image is signed, and this machine trusts its vendor')
  }

  private async apply(phase: string, outcome: 'applied' | 'already-applied'): Promise<void> {
    this.live.load.begin(phase)
    const answer = await this.onLive(['apply', ...this.subject.switching, this.patch])
    const stop = this.noteStop(answer)
    const said = outcome === 'applied' ? `apply: the process stood still for ${stop ?? '?'} µs` : 'apply: says that it is applied already'
    this.expect(answer.exit === 0 && answer.outcome === outcome, said, answer)
    const redirected = answer.result?.functions?.map(({ name }) => name).sort() ?? []
    this.expect(redirected.join() === [...this.subject.functions].sort().join(), `apply: redirected ${this.subject.functions.join(', ')}`)
  }

  private async verify(): Promise<void> {
    const answer = await this.onLive(['verify'])
    this.expect(answer.outcome === 'verified', 'verify: every byte is as it was left', answer)
  }

  /** Load alone for a while, then a look at the hole. */
  private async calm(phase: string, wanted: 'open' | 'closed'): Promise<void> {
    this.live.load.begin(phase)
    await sleep(CALM)
    const hole = await this.live.probe().catch((): Hole => 'mixed')
    this.holes.set(this.current(), hole)
    say()
    this.expect(hole === wanted, `the hole is ${hole}: ${this.subject.signs[wanted]}`)
  }

  private onLive([verb = '', ...others]: readonly string[]): Promise<Answer> {
    const seen = others.map((word) => (word.startsWith('--') ? word : this.target.path(word)))
    return onProcess(this.target, [verb, '--pid', `${this.live.server.pid}`, ...seen])
  }

  private noteStop(answer: Answer): number | undefined {
    const stop = answer.result?.stop?.stoppedMicroseconds
    if (stop === undefined) return undefined
    this.stops.set(this.current(), stop)
    return Math.round(stop)
  }

  private current(): number {
    return this.live.load.phases.length - 1
  }

  /** `answer`: what hotpatch said, if the expectation is about that. */
  private expect(good: boolean, text: string, answer?: Answer): void {
    verdict(good, text)
    if (good) return
    const { code, detail } = answer?.error ?? {}
    const said = answer === undefined ? '' : ` (hotpatch said: ${[answer.outcome, code, detail].filter(Boolean).join(' ')})`
    this.failures.push(text + said)
  }

  private result(): Told {
    const { phases } = this.live.load
    const total = (count: (phase: Phase) => number) => phases.reduce((sum, phase) => sum + count(phase), 0)
    const first = phases.find(({ firstFailure }) => firstFailure !== undefined)?.firstFailure
    say()
    this.expect(
      total(({ failed }) => failed) === 0,
      `requests failed: ${total(({ failed }) => failed)}${first === undefined ? '' : ` (first: ${first})`}`,
    )
    this.expect(total(({ dropped }) => dropped) === 0, `connections dropped: ${total(({ dropped }) => dropped)}`)
    this.expect(
      phases.every(({ answered }) => answered > 0),
      'the server answered in every phase',
    )
    this.expect(this.live.server.running(), 'the process that was started is the one that runs')
    const rows = phases.map((phase, index) => ({ phase, hole: this.holes.get(index), stop: this.stops.get(index) }))
    return { rows, failures: this.failures }
  }
}
