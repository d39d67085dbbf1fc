/**
 * An engine that kills itself: `killed-engine.ts PID PATCH VERB STEP`, VERB being apply, rollback, or to:SEQUENCE. It dies right before the call into the target that STEP counts
 * (from 0); with STEP `switch` inside the stop, all threads standing still. Ends with 0 if it had fewer calls to make.
 */
import { readFileSync } from 'node:fs'
import { applyPatch, rollbackPatch } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import type { Process } from '../../src/process/contract.ts'
import { hostBackend } from '../../src/process/host.ts'

const [pid, file, verb, step] = process.argv.slice(2) as [string, string, string, string]
const die = (): never => {
  process.kill(process.pid, 'SIGKILL')
  for (;;);
}

function mortal(target: Process): Process {
  let calls = 0
  const count =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      if (String(calls++) === step) die()
      return call(...args)
    }
  const changed: Partial<Process> = {
    write: count((address, bytes) => target.write(address, bytes)),
    map: count((request) => target.map(request)),
    unmap: count((address, size) => target.unmap(address, size)),
    registerUnwind: count((request) => target.registerUnwind(request)),
    unregisterUnwind: count((registration) => target.unregisterUnwind(registration)),
    switchCode: count((request) => target.switchCode(step === 'switch' ? { ...request, inspect: die } : request)),
  }
  return new Proxy(target, {
    get(_, key) {
      const value = key in changed ? Reflect.get(changed, key) : Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

async function main(): Promise<void> {
  // Node's code for what still waits when nothing is left to wait for.
  process.exitCode = 13
  const target = mortal((await hostBackend()).open(Number(pid)))
  if (verb === 'apply') await applyPatch(target, readPatchImage(readFileSync(file)))
  else if (verb === 'rollback') await rollbackPatch(target)
  else await rollbackPatch(target, { to: Number(verb.slice('to:'.length)) })
  process.exitCode = 0
}

void main()
