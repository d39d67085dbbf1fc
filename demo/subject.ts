/** What the story is told of: a program with a hole, built before and after its fix. */
import type { Phase } from './phases.ts'
import type { Server, Target } from './target.ts'

/** `mixed` means that not every look showed the same. It is right at no moment of the story. */
export type Hole = 'open' | 'closed' | 'mixed'

/** Two builds. Folders hold object files; `base` was linked from `before` and is what runs. */
export interface Builds {
  /** The folder of all of it, and of the patch image. */
  readonly place: string
  readonly before: string
  readonly after: string
  readonly base: string
}

export interface Load {
  begin(phase: string): void
  readonly phases: readonly Phase[]
  /** Ends the connections. */
  stop(): Promise<void>
}

export interface Subject {
  readonly title: string
  /** What the load consists of, in words: "32 connections". */
  loadTitle(target: Target): string
  readonly patchId: string
  readonly description: string
  readonly cves: readonly string[]
  /** What the hole looks like from outside while it is open, and when it is closed. */
  readonly signs: Readonly<Record<Exclude<Hole, 'mixed'>, string>>
  /** Names of functions that the patch must redirect. */
  readonly functions: readonly string[]
  /** Options of apply and rollback that an administrator would give for this program. */
  readonly switching: readonly string[]
  build(target: Target): Promise<Builds>
  /** Starts the program and waits until it answers. */
  start(target: Target, builds: Builds): Promise<Live>
}

/** A running subject under load. */
export interface Live {
  readonly server: Server
  readonly load: Load
  probe(): Promise<Hole>
}
