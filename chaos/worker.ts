/**
 * An engine that lives until it is killed: `worker.js PORT`. Connects to the loopback port, gets a job as a line of JSON, answers with one.
 * Plain files of the product and of Node, so that it runs as it is in Windows' Node, too.
 */
import { readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { createInterface } from 'node:readline'
import { applyPatch, rollbackPatch, statusOf } from '../src/engine/index.ts'
import { HotpatchError } from '../src/errors.ts'
import type { PatchImage } from '../src/patch/image.ts'
import { readPatchImage } from '../src/patch/read.ts'
import type { Process } from '../src/process/contract.ts'
import { hostBackend } from '../src/process/host.ts'

export interface Job {
  readonly verb: 'apply' | 'rollback' | 'status'
  readonly pid: number
  /** Of apply, as this system names it. */
  readonly patch?: string
  /** Of rollback. */
  readonly to?: number
  readonly timeoutMs: number
}

export interface Answer {
  readonly outcome: string
  /** Of an error. */
  readonly detail?: string
  readonly stoppedMicroseconds?: number
  readonly recovered: number
  readonly reclaimed: number
  /** Of status: patches by state, and damaged ledgers. */
  readonly states?: readonly string[]
  readonly damaged?: number
}

const images = new Map<string, PatchImage>()
let opened: Process | undefined

async function run({ verb, pid, patch = '', to, timeoutMs }: Job): Promise<Answer> {
  opened ??= (await hostBackend()).open(pid)
  if (verb === 'status') {
    const { patches, damaged } = statusOf(opened)
    return {
      outcome: 'status',
      recovered: 0,
      reclaimed: 0,
      states: patches.map(({ id, state }) => `${id} ${state}`),
      damaged: damaged.length,
    }
  }
  const image = images.get(patch) ?? (verb === 'apply' ? readPatchImage(readFileSync(patch)) : undefined)
  if (image !== undefined) images.set(patch, image)
  const { outcome, stop, recovered, reclaim } =
    image === undefined ? await rollbackPatch(opened, { to, timeoutMs }) : await applyPatch(opened, image, { timeoutMs })
  const stopped = stop === undefined ? {} : { stoppedMicroseconds: stop.longestStopMicroseconds }
  return { outcome, recovered: recovered.length, reclaimed: reclaim.memory.length, ...stopped }
}

const socket = createConnection({ host: '127.0.0.1', port: Number(process.argv[2]) })
socket.on('close', () => process.exit(0))
socket.on('error', () => process.exit(1))
for await (const line of createInterface({ input: socket })) {
  let answer: Answer
  try {
    answer = await run(JSON.parse(line) as Job)
  } catch (error) {
    const known = error instanceof HotpatchError
    const detail = error instanceof Error ? (known ? error.detail : (error.stack ?? error.message)) : String(error)
    answer = { outcome: known ? error.code : 'DEFECT', detail, recovered: 0, reclaimed: 0 }
  }
  socket.write(`${JSON.stringify(answer)}\n`)
}
