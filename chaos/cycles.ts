/** What happens to one running server: patches are applied, superseded and rolled back at random, and engines are killed at random instants. */
import type { Server, TargetName } from '../demo/target.ts'
import type { Engine, Engines } from './engines.ts'
import type { Random } from './random.ts'
import type { Answer, Job } from './worker.ts'

export interface Tally {
  cycles: number
  readonly outcomes: Map<string, number>
  busy: number
  killed: number
  /** Steps that a later engine completed or took back. */
  recovered: number
  reclaimed: number
  longestStop: number
  targetsLost: number
  readonly failures: string[]
}

export interface Trial {
  readonly target: TargetName
  readonly server: Server
  readonly engines: Engines
  readonly random: Random
  /** By sequence number, from 1 on. */
  readonly patches: readonly string[]
  readonly cycles: number
  /** Milliseconds since 1970. */
  readonly until: number
  /** Cycles of a hundred in which the engine is killed. */
  readonly killsPerCent: number
}

/** There was no safe moment: nothing has happened, and a later try may do. */
const BUSY = new Set(['BUSY', 'STOP_TIMEOUT', 'NO_SAFE_THREAD', 'ENGINE_AT_WORK', 'CALL_TIMEOUT', 'PLACE_TAKEN'])
/** Right answers, since after a kill nobody knows which patch is in place. */
const ANSWERS = new Set(['applied', 'already-applied', 'rolled-back', 'nothing-to-roll-back', 'SEQUENCE_NOT_HIGHER', 'PREDECESSOR_GONE'])
const TIMEOUT_MS = 10_000

export const newTally = (): Tally => ({
  cycles: 0,
  outcomes: new Map(),
  busy: 0,
  killed: 0,
  recovered: 0,
  reclaimed: 0,
  longestStop: 0,
  targetsLost: 0,
  failures: [],
})

/** Ends early when the server has ended, or the time is over. */
export async function runCycles(trial: Trial, tally: Tally, progress: (tally: Tally) => void): Promise<void> {
  const { server, engines, random, cycles, until, killsPerCent } = trial
  let engine = await engines.next()
  /** The sequence number in place, as far as is known; 0: none. */
  let standing = 0
  /** Which one each took the place of, as far as is known. */
  const before = new Map<number, number>()
  /** Of a job, milliseconds. */
  let usual = 200
  for (; tally.cycles < cycles && Date.now() < until; tally.cycles++) {
    if (!server.running()) {
      tally.targetsLost++
      tally.failures.push(`the server has ended in cycle ${tally.cycles}: ${server.output().slice(-500)}`)
      break
    }
    const job = chooseJob(trial, standing, before.get(standing) ?? 0)
    const began = performance.now()
    if (random.below(100) < killsPerCent) {
      const after = random.next() * 1.2 * usual
      const answer = await killedWithin(engine, job, after)
      tally.killed++
      if (answer !== undefined) count(tally, job, answer)
      engine = await engines.next()
      const status = await engine.run({ verb: 'status', pid: server.pid, timeoutMs: TIMEOUT_MS })
      if (status?.damaged !== 0) tally.failures.push(`cycle ${tally.cycles}: after a kill, status says ${JSON.stringify(status)}`)
      standing = appliedIn(status)
    } else {
      const answer = await engine.run(job)
      if (answer === undefined) {
        tally.failures.push(`cycle ${tally.cycles}: the engine died by itself in ${job.verb}`)
        engine = await engines.next()
      } else {
        const now = count(tally, job, answer) ?? standing
        if (now > standing) before.set(now, standing)
        standing = now
      }
      usual = usual * 0.9 + (performance.now() - began) * 0.1
    }
    progress(tally)
  }
  await settle(trial, engine, tally)
  await engine.kill()
}

function chooseJob({ random, patches, server }: Trial, standing: number, predecessor: number): Job {
  const common = { pid: server.pid, timeoutMs: TIMEOUT_MS }
  const higher = patches.length - standing
  if (standing === 0 || (higher > 0 && random.below(2) === 0)) {
    const sequence = standing + 1 + random.below(Math.max(higher, 1))
    return { verb: 'apply', patch: patches[sequence - 1] ?? '', ...common }
  }
  return predecessor > 0 && random.below(2) === 0 ? { verb: 'rollback', to: predecessor, ...common } : { verb: 'rollback', ...common }
}

/** The answer, where it came before the kill. */
async function killedWithin(engine: Engine, job: Job, milliseconds: number): Promise<Answer | undefined> {
  const answer = engine.run(job)
  await new Promise((resolve) => setTimeout(resolve, milliseconds))
  await engine.kill()
  return answer
}

/** What is in place now, where the answer tells. */
function count(tally: Tally, { verb, patch = '', to = 0 }: Job, answer: Answer): number | undefined {
  const { outcome, recovered, reclaimed, stoppedMicroseconds = 0 } = answer
  tally.outcomes.set(outcome, (tally.outcomes.get(outcome) ?? 0) + 1)
  tally.recovered += recovered
  tally.reclaimed += reclaimed
  tally.longestStop = Math.max(tally.longestStop, stoppedMicroseconds)
  if (BUSY.has(outcome)) tally.busy++
  else if (!ANSWERS.has(outcome)) tally.failures.push(`cycle ${tally.cycles}: ${verb}: ${outcome}: ${answer.detail ?? ''}`)
  if (outcome === 'applied' || outcome === 'already-applied') return sequenceIn(patch)
  if (outcome === 'rolled-back') return to
  if (outcome === 'nothing-to-roll-back') return 0
  return undefined
}

/** Patches are named `chaos-SEQUENCE`. */
const sequenceIn = (text: string): number => Number(/chaos-(\d+)/.exec(text)?.[1] ?? 0)

const appliedIn = (status: Answer | undefined): number =>
  Math.max(0, ...(status?.states ?? []).filter((state) => state.endsWith(' applied')).map(sequenceIn))

/** The original program at the end, with nothing left unfinished. */
async function settle({ server }: Trial, engine: Engine, tally: Tally): Promise<void> {
  if (!server.running()) return
  const [pid, timeoutMs] = [server.pid, 60_000]
  const undone = await engine.run({ verb: 'rollback', pid, timeoutMs })
  const nothing = await engine.run({ verb: 'rollback', pid, timeoutMs })
  const status = await engine.run({ verb: 'status', pid, timeoutMs })
  const left = status?.states?.filter((state) => !/ (reverted|superseded)$/.test(state)) ?? ['nobody knows what']
  if (nothing?.outcome !== 'nothing-to-roll-back') tally.failures.push(`at the end: ${JSON.stringify([undone, nothing])}`)
  if (status?.damaged !== 0 || left.length > 0) tally.failures.push(`at the end there is left: ${left.join(', ')}`)
}
