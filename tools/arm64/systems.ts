/** The systems that the suites run on, each in a machine that has come up with all that they start. Its checkpoint is kept as long as nothing changes of what it was made from. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clone, workshop } from '../places.ts'
import { kept } from './cached.ts'
import { type Checkpoint, makeCheckpoint, untilCheckpoint } from './checkpoint.ts'
import { ensureImage, type Image } from './image.ts'
import { PREPARE_LINUX } from './linux.ts'
import { makeLinuxScripts, makePrograms, writePayload } from './payload.ts'
import { makeWindowsPrograms, makeWindowsScripts, PREPARE_WINDOWS } from './windows.ts'
import { ensureWindowsImage } from './windows-image.ts'

export interface System {
  readonly name: string
  image(log: (line: string) => void): Promise<Image>
  /** Compiles into a folder what the suites start. */
  make(folder: string): Promise<void>
  /** What its machine does first: lines of a shell script. */
  readonly prepare: readonly string[]
}

export const LINUX: System = {
  name: 'linux',
  image: ensureImage,
  async make(folder) {
    await makeLinuxScripts(folder)
    await makePrograms(folder)
  },
  prepare: PREPARE_LINUX,
}

export const WINDOWS: System = {
  name: 'windows',
  image: async (log) => ensureWindowsImage(await ensureImage(log), log),
  async make(folder) {
    await makeWindowsScripts(folder)
    await makeWindowsPrograms(folder)
  },
  prepare: PREPARE_WINDOWS,
}

/** What is in them goes into machines, or makes what does. */
const SOURCES = ['bin', 'dist', 'src', 'test', 'tools', 'package.json', 'package-lock.json', 'tsconfig.json']
const CHECKPOINT = 'machine'
const TIMEOUT_SECONDS = 600

/** Throws what fetching, compiling and starting throw. */
export async function ensureCheckpoints(systems: ReadonlySet<System>, log: (line: string) => void): Promise<Map<System, Checkpoint>> {
  const images = new Map<System, Image>()
  // Made one after the other: parts of an image are those of another, too.
  for (const system of systems) images.set(system, await system.image(log))
  const whatIsHere = hashOfWhatIsHere()
  const ensure = async ([system, image]: [System, Image]): Promise<[System, Checkpoint]> => [
    system,
    await ensureCheckpoint(system, image, whatIsHere, log),
  ]
  return new Map(await Promise.all([...images].map(ensure)))
}

async function ensureCheckpoint(system: System, image: Image, whatIsHere: string, log: (line: string) => void): Promise<Checkpoint> {
  const key = createHash('sha256').update(whatIsHere).update(JSON.stringify(image)).digest('hex').slice(0, 16)
  const folder = join(workshop, 'arm64', system.name)
  mkdirSync(folder, { recursive: true })
  // One is up to a gigabyte, and of no use when something has changed.
  for (const old of readdirSync(folder)) if (old !== key) rmSync(join(folder, old), { recursive: true, force: true })
  const made = await kept(join(folder, key), (part) => make(system, { image, file: join(part, CHECKPOINT) }, log))
  return { image, file: join(made, CHECKPOINT) }
}

async function make(system: System, checkpoint: Checkpoint, log: (line: string) => void): Promise<void> {
  log(`${system.name}: compiling, and a first machine comes up with that (once for what is in this clone)`)
  const payload = mkdtempSync(join(tmpdir(), 'hotpatch-arm64-'))
  try {
    await system.make(payload)
    await makeCheckpoint(checkpoint, (cpio) => writePayload(cpio, payload, untilCheckpoint(system.prepare)), TIMEOUT_SECONDS)
  } finally {
    rmSync(payload, { recursive: true, force: true })
  }
}

/** Of the sources, and of what the system has of programs that compile them. */
function hashOfWhatIsHere(): string {
  const hash = createHash('sha256')
    .update(process.version)
    .update(execFileSync('dpkg-query', ['--show']))
  for (const name of SOURCES) for (const file of filesOf(name)) hash.update(`\0${file}\0`).update(readFileSync(join(clone, file)))
  return hash.digest('hex')
}

/** Paths in the clone. */
const filesOf = (name: string): string[] =>
  statSync(join(clone, name)).isFile()
    ? [name]
    : readdirSync(join(clone, name))
        .sort()
        .flatMap((entry) => filesOf(join(name, entry)))
