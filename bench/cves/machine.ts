/** The emulated ARM64 machine as the place where processes run: one for all entries, from the first that wants it. */
import { basename, join } from 'node:path'
import { arm64Target, serverIn } from '../../demo/arm64.ts'
import type { Server } from '../../demo/target.ts'
import { type Arm64Machine, startArm64 } from '../../tools/arm64/agent-client.ts'
import { isLibrary, librariesOf, libraryHost, ready, waitingLibrary } from './hosts.ts'
import { REACH, type Site } from './site.ts'

const FOLDER = '/root/cves'

let machine: Promise<Arm64Machine> | undefined
let started = 0

export const siteInMachine: Site = {
  start,
  async hotpatch(args) {
    const on = await theMachine()
    return on.run('node', [on.hotpatch, ...args])
  },
  bring: (path) => bring(path, join(FOLDER, basename(path)), 0o644),
  async code({ pid }, address) {
    return (await theMachine()).code(pid, address, REACH)
  },
}

export async function switchOff(): Promise<void> {
  const on = await machine?.catch(() => undefined)
  machine = undefined
  await on?.off()
}

function theMachine(): Promise<Arm64Machine> {
  machine ??= startArm64((line) => process.stderr.write(`arm64: ${line}\n`))
  return machine
}

async function bring(path: string, there: string, mode: number): Promise<string> {
  await (await theMachine()).bring(path, there, mode)
  return there
}

async function start(images: string, file: string): Promise<Server> {
  const on = await theMachine()
  // Of its own: other entries have images of the same names.
  const folder = join(FOLDER, `images-${++started}`)
  for (const [soname, path] of librariesOf(images)) await bring(path, join(folder, 'sonames', soname), 0o755)
  const image = await bring(join(images, file), join(folder, file), 0o755)
  const env = { LD_LIBRARY_PATH: join(folder, 'sonames') }
  if (isLibrary(file)) {
    const host = await bring(await libraryHost(arm64Target), join(FOLDER, 'library'), 0o755)
    return ready(await serverIn(on, await on.start(host, [image], env)), file, true)
  }
  const waiting = await bring(await waitingLibrary(arm64Target), join(FOLDER, 'waiting.so'), 0o755)
  return ready(await serverIn(on, await on.start(image, [], { ...env, LD_PRELOAD: waiting })), file, true)
}
