/** One action on every process of the machine that it concerns: each its own outcome, whatever becomes of the others. */
import { type ErrorCode, HotpatchError } from '../errors.ts'
import type { Backend, Process } from '../process/contract.ts'

export interface Everywhere<T> {
  /** Processes of other names are left alone. On Linux a name has at most 15 characters; what is given is cut to that. */
  readonly name?: string | undefined
  /** Only looks. An aside is for a process that is left alone, but that the person should know of. */
  concerns(process: Process): boolean | { readonly aside: string }
  act(process: Process): T | Promise<T>
  /** Whether anything is another than before; where it is, processes are looked for once more. */
  changed(report: T): boolean
}

export interface ReachedEverywhere<T> {
  readonly reached: readonly Reached<T>[]
  readonly asides: readonly Aside[]
  /** How many processes were looked at. */
  readonly looked: number
  /** Processes that could not be looked at, by the code that says why. */
  readonly unreadable: Readonly<Partial<Record<ErrorCode, number>>>
}

export interface Reached<T> {
  readonly pid: number
  readonly name: string
  readonly came:
    | { readonly kind: 'done'; readonly report: T }
    | { readonly kind: 'failed'; readonly error: HotpatchError }
    /** It ended, or became another program, after it was found. */
    | { readonly kind: 'gone' }
}

export interface Aside {
  readonly pid: number
  readonly name: string
  readonly detail: string
}

/**
 * How often processes are looked for. A process may fork while its siblings are being changed: its child is found by looking once more, until
 * nothing is left to change. One that was changed passes that on to its children, so this ends, unless something that cannot be changed goes on forking.
 */
const ROUNDS = 16

/** Processes one after the other, in the order of the system's list. Throws nothing for what happens to one of them. */
export async function everywhere<T>(backend: Backend, action: Everywhere<T>): Promise<ReachedEverywhere<T>> {
  const [reached, asides] = [new Map<string, Reached<T>>(), new Map<string, Aside>()]
  const [looked, unreadable] = [new Set<number>(), new Map<number, ErrorCode>()]
  for (let round = 0, changed = true; changed && round < ROUNDS; round++) {
    changed = false
    for (const { pid, name } of backend.list().filter((process) => isNamed(process.name, action.name))) {
      const visit = await visited(backend, pid, action, reached)
      if (visit.kind === 'gone') continue
      if (visit.kind === 'unreadable') {
        unreadable.set(pid, visit.code)
        continue
      }
      unreadable.delete(pid)
      looked.add(pid)
      if (visit.kind === 'aside') asides.set(visit.key, { pid, name, detail: visit.aside })
      if (visit.kind === 'reached') {
        reached.set(visit.key, { pid, name, came: visit.came })
        changed ||= visit.came.kind === 'done' && action.changed(visit.came.report)
      }
    }
  }
  return { reached: [...reached.values()], asides: [...asides.values()], looked: looked.size, unreadable: countsOf(unreadable.values()) }
}

type Visit<T> =
  | { readonly kind: 'gone' }
  | { readonly kind: 'unreadable'; readonly code: ErrorCode }
  | { readonly kind: 'unconcerned' }
  | { readonly kind: 'aside'; readonly key: string; readonly aside: string }
  | { readonly kind: 'reached'; readonly key: string; readonly came: Reached<T>['came'] }

async function visited<T>(backend: Backend, pid: number, action: Everywhere<T>, reached: ReadonlyMap<string, unknown>): Promise<Visit<T>> {
  let process: Process | undefined
  try {
    process = backend.open(pid)
    // A pid may be taken by another process meanwhile.
    const key = `${pid} ${process.incarnation}`
    const concern = !reached.has(key) && action.concerns(process)
    if (concern === false) return { kind: 'unconcerned' }
    return concern === true ? { kind: 'reached', key, came: await actOn(process, action) } : { kind: 'aside', key, ...concern }
  } catch (error) {
    const failure = failureOf(error)
    return failure === 'gone' ? { kind: 'gone' } : { kind: 'unreadable', code: failure.code }
  } finally {
    process?.close()
  }
}

async function actOn<T>(process: Process, action: Everywhere<T>): Promise<Reached<T>['came']> {
  try {
    return { kind: 'done', report: await action.act(process) }
  } catch (error) {
    const failure = failureOf(error)
    // exec has replaced the program: there is nothing left to be done to it.
    if (failure === 'gone' || failure.code === 'BASE_NOT_MAPPED') return { kind: 'gone' }
    return { kind: 'failed', error: failure }
  }
}

/** What PR_SET_NAME and exec leave of a longer name. */
const LINUX_NAME = 15

/** Windows knows no case, and its programs need not be named with their suffix. */
export function isNamed(name: string, wanted: string | undefined): boolean {
  if (wanted === undefined || name === wanted) return true
  if (name.length === LINUX_NAME && wanted.startsWith(name)) return true
  const windowsName = name.toLowerCase()
  return windowsName.endsWith('.exe') && [windowsName, windowsName.slice(0, -4)].includes(wanted.toLowerCase())
}

/** A defect that one process brings to light must not keep the others from being reached. */
function failureOf(error: unknown): HotpatchError | 'gone' {
  if (!(error instanceof HotpatchError))
    return new HotpatchError('DEFECT', error instanceof Error ? (error.stack ?? error.message) : `${error}`)
  return error.code === 'PROCESS_GONE' ? 'gone' : error
}

function countsOf(codes: Iterable<ErrorCode>): Partial<Record<ErrorCode, number>> {
  const counts: Partial<Record<ErrorCode, number>> = {}
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1
  return counts
}
