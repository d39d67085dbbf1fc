/** An engine that follows blocking threads until it is killed: `follower.ts PID PATCH`. Says `begun` before it begins. */
import { readFileSync } from 'node:fs'
import { applyPatch } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import { hostBackend } from '../../src/process/host.ts'

const [pid, file] = process.argv.slice(2) as [string, string]
const target = (await hostBackend()).open(Number(pid))
process.stdout.write('begun\n')
await applyPatch(target, readPatchImage(readFileSync(file)), { timeoutMs: 60_000, waitForReturn: true })
