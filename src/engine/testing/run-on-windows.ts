/**
 * The engine inside Windows' Node: `node run-on-windows.js JOBS RESULTS`. JOBS is a file with an array of `Job`; RESULTS gets a line of
 * JSON for each: what the engine reported, or its error.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { HotpatchError } from '../../errors.ts'
import { readPatchImage } from '../../patch/read.ts'
import { hostBackend } from '../../process/host.ts'
import type { Consistency } from '../consistency.ts'
import { applyPatch, rollbackPatch } from '../index.ts'

export interface Job {
  readonly verb: 'apply' | 'rollback'
  readonly pid: number
  /** As Windows names it. */
  readonly patch: string
  readonly timeoutMs: number
  readonly consistency?: Consistency
  readonly waitForReturn?: boolean
}

export type JobResult =
  | { readonly report: object }
  | { readonly error: { readonly code: string; readonly detail: string; readonly facts: object } }

async function run({ verb, pid, patch, ...options }: Job): Promise<JobResult> {
  const target = (await hostBackend()).open(pid)
  try {
    return {
      report: await (verb === 'apply' ? applyPatch(target, readPatchImage(readFileSync(patch)), options) : rollbackPatch(target, options)),
    }
  } catch (error) {
    if (!(error instanceof HotpatchError)) throw error
    const { code, detail, facts } = error
    return { error: { code, detail, facts } }
  } finally {
    target.close()
  }
}

const [jobs, results] = process.argv.slice(2)
if (jobs === undefined || results === undefined) throw new Error('usage: run-on-windows JOBS RESULTS')
for (const job of JSON.parse(readFileSync(jobs, 'utf8')) as Job[]) appendFileSync(results, `${JSON.stringify(await run(job))}\n`)
