/**
 * Programs and scripts that live tests start. Where there are no compilers (the ARM64 machine, tools/arm64) the host has compiled both
 * beforehand: programs by the same functions, with compilers for that processor; scripts from TypeScript to JavaScript.
 */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { constants, setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where the host has put what it made, or is to put it; and the arguments with which Node starts from a V8 startup snapshot that has the scripts. */
const { HOTPATCH_BROUGHT: brought, HOTPATCH_BRING: bring, HOTPATCH_SNAPSHOT: snapshot } = process.env

/** Whether this is a machine without compilers, and why a test that needs one is left out there. */
export const NO_COMPILER = brought === undefined ? undefined : 'there is no compiler in the machine, and no source'

/** How often something is done: everything takes ten times as long where the processor is emulated. */
export const rounds = (count: number): number => (brought === undefined ? count : Math.ceil(count / 8))

/** How long an engine tries to meet a safe moment: where the processor is emulated every try takes long. */
export const PATIENT: { readonly timeoutMs?: number } = brought === undefined ? {} : { timeoutMs: 60_000 }

/** Milliseconds for what must happen within some time. */
export const within = (milliseconds: number): number => (brought === undefined ? milliseconds : 8 * milliseconds)

/** How many threads keep the processors busy. */
export const busyThreads = (count: number): number => (brought === undefined ? count : 2)

/** What a server is told that works for all it is worth. */
export const AS_FAST_AS_IT_CAN: readonly string[] = []

/**
 * What a server is told where it is enough that it serves on. Where the processors are emulated, both on one of the host's, it waits so many microseconds after
 * every few requests: else it takes half of all time from what the test is about.
 */
export const LIGHT_LOAD: readonly string[] = brought === undefined ? AS_FAST_AS_IT_CAN : ['5000']

/**
 * For how long each thread of the conformance suite's program rests between its rounds where the processors are emulated, milliseconds; else 1. Four of them that wake up a thousand times a second take
 * much of an emulated processor from the engine.
 */
export const PAUSE_MS = 8

/** What a program is told that does something every now and then: to do it so many times as slowly where all processors are emulated by one. */
export const SLOWLY: readonly string[] = brought === undefined ? [] : ['4']

/**
 * Starts a program that hardly waits. Where two processors are all there is, and those emulated, it gets a lower priority, so that the engine has
 * its turn: a child has that of the thread which starts it.
 */
export function inBackground<T>(start: () => T): T {
  if (brought === undefined) return start()
  setPriority(constants.priority.PRIORITY_LOW)
  try {
    return start()
  } finally {
    setPriority(constants.priority.PRIORITY_NORMAL)
  }
}

/**
 * A folder of its own, which the caller deletes, with what `make` puts into it. `how` is everything that the result depends on.
 * @param make gets the folder
 */
export function made(kind: string, how: unknown, make: (folder: string) => void): string {
  const name = `${kind}-${createHash('sha256').update(JSON.stringify(how)).digest('hex').slice(0, 12)}`
  if (bring !== undefined) {
    const folder = join(bring, name)
    if (!existsSync(folder)) {
      mkdirSync(folder)
      make(folder)
    }
    return folder
  }
  const folder = mkdtempSync(join(tmpdir(), `hotpatch-${kind}-`))
  if (brought === undefined) make(folder)
  else {
    const there = join(brought, name)
    if (!existsSync(there)) throw new Error(`the host has not brought ${name}: ${JSON.stringify(how)} is not among test/arm64/builds.ts`)
    cpSync(there, folder, { recursive: true })
  }
  return folder
}

/** The bytes of a file in a folder of `made`; made now if they are not there yet. */
export function kept(folder: string, name: string, make: () => Uint8Array): Uint8Array {
  const file = join(folder, name)
  if (!existsSync(file)) writeFileSync(file, make())
  return readFileSync(file)
}

/** The arguments with which Node runs a script that lies beside a test. `url` is that of the test; `name` is without its suffix. */
export function script(name: string, url: string): string[] {
  const compiled = url.endsWith('.js')
  const file = fileURLToPath(new URL(`${name}.${compiled ? 'js' : 'ts'}`, url))
  if (!compiled) return ['--import', 'tsx', file]
  return snapshot === undefined ? [file] : [...snapshot.split(' '), file]
}
