/**
 * One entry of the corpus, tried: hotpatch makes patches from its two builds, applies them to live processes that map the base images, and takes
 * them back. What hotpatch says is compared with what the processes' memory holds.
 */
import { mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hotpatchHere, type Server, targets } from '../../demo/target.ts'
import { type BuiltEntry, builtEntry } from './build.ts'
import type { CorpusEntry } from './corpus.ts'
import { DOZEN_ON_ARM64 } from './dozen.ts'
import { siteHere } from './hosts.ts'
import { siteInMachine } from './machine.ts'
import { outputOf } from './places.ts'
import type { Site } from './site.ts'
import type { KeptImage } from './snapshot.ts'
import { librariesIn, sysrootFor } from './sysroot.ts'
import type { TargetName } from './targets.ts'

export type Outcome =
  /** A patch was made and, where processes of the target run here, applied, verified and taken back. */
  | 'patched'
  /** Nothing differs that a process could notice. */
  | 'nothing'
  | 'refused'
  /** Anything else: hotpatch failed, or memory is not what it said. */
  | 'failed'

export interface Trial {
  readonly id: string
  readonly target: TargetName
  readonly outcome: Outcome
  /** Functions that patches redirect, over all images. */
  readonly functions: readonly string[]
  /** Of the refusals: `CODE symbol`. */
  readonly reasons: readonly string[]
  /** What went wrong; of `patched`, what could not be shown here. */
  readonly detail: string
}

type Part = Omit<Trial, 'id' | 'target'>

const part = (outcome: Outcome, more: Partial<Part> = {}): Part => ({ outcome, functions: [], reasons: [], detail: '', ...more })

/** Builds the entry where that was not done before. */
export async function tryEntry(entry: CorpusEntry, target: TargetName): Promise<Trial> {
  const parts: Part[] = []
  try {
    const built = await builtEntry(entry.id, target)
    if (built.images.length === 0) parts.push(await tryObjects(built))
    const sysroot = await sysrootFor(entry.package, target)
    const libraries = sysroot === undefined ? [] : librariesIn(sysroot)
    for (const image of built.images) parts.push(await tryImage(built, image, libraries))
  } catch (error) {
    parts.push(part('failed', { detail: error instanceof Error ? error.message : String(error) }))
  }
  return { id: entry.id, target, ...whole(parts) }
}

/** A fix is as good as what came of the worst image that it is in. */
const ORDER: readonly Outcome[] = ['failed', 'refused', 'patched', 'nothing']

function whole(parts: readonly Part[]): Part {
  const outcome = ORDER.find((candidate) => parts.some((one) => one.outcome === candidate)) ?? 'nothing'
  return {
    outcome,
    functions: [...new Set(parts.flatMap(({ functions }) => functions))],
    reasons: [...new Set(parts.flatMap(({ reasons }) => reasons))],
    detail: [...new Set(parts.map(({ detail }) => detail).filter((text) => text !== ''))].join('; '),
  }
}

interface Answer {
  readonly outcome: string
  readonly exit: number
  // biome-ignore lint/suspicious/noExplicitAny: docs/json.md has its shape for each command
  readonly result?: any
  readonly error?: { readonly code: string; readonly detail: string; readonly facts?: { readonly reasons?: readonly RefusalReason[] } }
}

interface RefusalReason {
  readonly code: string
  readonly symbol?: string
  readonly weight?: string
}

/** Where a recipe links no image, the objects alone are compared. */
async function tryObjects({ before, after }: BuiltEntry): Promise<Part> {
  const answer = answered(await hotpatchHere(['diff', join(before, 'objects'), join(after, 'objects'), '--json']))
  const items: readonly { kind: string; name: string; reasons: RefusalReason[] }[] = answer.result?.items ?? []
  const functions = items.filter(({ kind }) => kind === 'function').map(({ name }) => name)
  if (answer.outcome === 'same') return part('nothing')
  if (answer.outcome === 'patchable') return part('patched', { functions, detail: 'objects compared, no image linked' })
  return part('refused', { reasons: reasonsOf(items.flatMap(({ reasons }) => reasons)) })
}

/** @param libraries in which names are looked for that the image does not import */
async function tryImage(
  { id, target, before, after }: BuiltEntry,
  { file, objects }: KeptImage,
  libraries: readonly string[],
): Promise<Part> {
  const patch = join(outputOf(id, target), 'patches', `${file}.hotpatch`)
  mkdirSync(join(patch, '..'), { recursive: true })
  rmSync(patch, { force: true })
  const given = libraries.flatMap((path) => ['--library', path])
  const [from, to, base] = [join(before, objects), join(after, objects), join(before, file)]
  const built = answered(await hotpatchHere(['build', '--before', from, '--after', to, '--base', base, '-o', patch, ...given, '--json']))
  if (built.outcome === 'nothing-to-patch') return part('nothing')
  if (built.error?.code === 'REFUSED') return part('refused', { reasons: reasonsOf(built.error.facts?.reasons ?? []) })
  if (built.exit !== 0) return part('failed', { detail: `build of ${file}: ${words(built)}` })
  const functions: string[] = built.result.report.functions.map(({ name }: { name: string }) => name)
  const site = siteOf(id, target)
  if (site === undefined) return part('patched', { functions, detail: await inspected(patch) })
  const wrong = await live(site, before, file, patch, functions)
  if (typeof wrong !== 'string') return part('refused', { reasons: reasonsOf(wrong.blockers) })
  return wrong === '' ? part('patched', { functions }) : part('failed', { functions, detail: `${file}: ${wrong}` })
}

/** Emulated, a process takes long: a dozen of these are shown in one. */
const LOADED_ON_ARM64: ReadonlySet<string> = new Set(DOZEN_ON_ARM64)

/** undefined: its patches are built and looked at. */
function siteOf(id: string, target: TargetName): Site | undefined {
  if (target === 'elf-arm64') return LOADED_ON_ARM64.has(id) ? siteInMachine : undefined
  return siteHere(target === 'elf-x64' ? targets.elf : targets.pe)
}

async function inspected(patch: string): Promise<string> {
  const answer = answered(await hotpatchHere(['inspect', patch, '--json']))
  if (answer.exit !== 0) throw new Error(`inspect: ${words(answer)}`)
  return 'built and inspected, not loaded'
}

/** What `check` has against a patch that was built: the process lacks what the fix needs. */
interface RefusedThere {
  readonly blockers: readonly RefusalReason[]
}

/** In a live process: '' when all is as it must be, else what is not. */
async function live(site: Site, images: string, file: string, patch: string, functions: readonly string[]): Promise<string | RefusedThere> {
  const server = await site.start(images, file)
  try {
    return await there(site, server, await site.bring(patch), functions)
  } finally {
    await server.stop()
  }
}

async function there(site: Site, server: Server, patch: string, functions: readonly string[]): Promise<string | RefusedThere> {
  const ask = async (verb: string, ...more: string[]) => answered(await site.hotpatch([verb, '--pid', `${server.pid}`, '--json', ...more]))
  const checked = await ask('check', patch)
  if (checked.outcome === 'would-refuse') {
    const { error } = await ask('apply', '--allow-unsigned', patch)
    return error?.code === checked.result.blockers[0].code ? checked.result : 'check refuses, and apply does not for the same reason'
  }
  if (checked.exit !== 0) return `check: ${words(checked)}`
  const first = Number(checked.result.functions[0].address)
  const original = await site.code(server, first)
  const applied = await ask('apply', '--allow-unsigned', patch)
  if (applied.exit !== 0) return `apply: ${words(applied)}`
  const redirected: readonly { name: string; address: string }[] = applied.result.functions
  const missing = functions.filter((name) => !redirected.some((one) => one.name === name))
  if (missing.length > 0) return `not redirected: ${missing.join(', ')}`
  const patched = await site.code(server, first)
  const same = redirected.filter(({ address }) => !differs(original, patched, Number(address)))
  if (same.length > 0) return `said to be redirected, but the bytes are the old ones: ${same.map(({ name }) => name).join(', ')}`
  const verified = await ask('verify')
  if (verified.outcome !== 'verified') return `verify: ${words(verified)}`
  const undone = await ask('rollback')
  if (undone.outcome !== 'rolled-back') return `rollback: ${words(undone)}`
  const restored = await site.code(server, first)
  for (const [start, bytes] of original)
    if (restored.get(start)?.equals(bytes) !== true) return `after the rollback code at 0x${start.toString(16)} is not what it was`
  return server.running() ? '' : 'the process has ended'
}

/** In front of an entry there may be padding that is part of the redirect; an `endbr64` in it stays. */
const [PADDING, ENTRY] = [16, 16]

function differs(original: ReadonlyMap<number, Buffer>, patched: ReadonlyMap<number, Buffer>, address: number): boolean {
  for (const [start, bytes] of original) {
    const at = address - start
    if (at < 0 || at >= bytes.length) continue
    const [from, to] = [Math.max(0, at - PADDING), at + ENTRY]
    return !bytes.subarray(from, to).equals(patched.get(start)?.subarray(from, to) ?? Buffer.alloc(0))
  }
  return false
}

function answered({ stdout, stderr, status }: { stdout: string; stderr: string; status: number | null }): Answer {
  try {
    return JSON.parse(stdout)
  } catch {
    return { outcome: 'no-answer', exit: status ?? -1, error: { code: 'NO_ANSWER', detail: `${stdout}${stderr}`.slice(-500) } }
  }
}

const words = ({ outcome, exit, error }: Answer): string => (error ? `${error.code}: ${error.detail}` : `${outcome}, exit ${exit}`)

const reasonsOf = (reasons: readonly RefusalReason[]): string[] =>
  reasons.filter(({ weight }) => weight !== 'note').map(({ code, symbol }) => `${code} ${symbol ?? ''}`.trimEnd())

/** Changes whenever the product does: results of another one say nothing of this. */
export const productAge = (dist: string): number => statSync(join(dist, '.tsbuildinfo')).mtimeMs
