import { type ApplyReport, applyPatch, type Superseded } from '../../engine/apply.ts'
import type { CalloutReport } from '../../engine/callout.ts'
import type { ReclaimReport } from '../../engine/reclaim.ts'
import type { Recovery } from '../../engine/recover.ts'
import type { SwitchReport } from '../../engine/switch.ts'
import { type TakenPatch, takeSignedPatch, takeUnsignedPatch } from '../../servicing/trust/patches.ts'
import { type Answer, done, type JsonFlag } from '../answer.ts'
import { withProcess } from '../live.ts'
import type { SwitchFlags } from '../parameters.ts'
import { bad, dim, good, plural, strong, table } from '../words.ts'
import { acceptedLines } from './accepted.ts'
import { missingLines, missingOf } from './missing.ts'

export interface ApplyFlags extends JsonFlag, SwitchFlags {
  readonly pid: number
  readonly force: boolean
  readonly allowUnsigned: boolean
}

/** The patch image is read, validated and verified whole before the process is opened. */
export async function apply(patch: string, flags: ApplyFlags): Promise<Answer> {
  const { pid, timeout, consistency, waitForReturn, force, allowUnsigned } = flags
  const { image, signedBy } = allowUnsigned ? takeUnsignedPatch(patch) : takeSignedPatch(patch)
  const options = { timeoutMs: timeout * 1000, consistency, waitForReturn, force }
  const report = await withProcess(pid, (process) => applyPatch(process, image, options))
  const { accepted = [] } = image.manifest
  const missing = missingOf([image])
  return done(report.outcome, { ...report, signedBy, accepted, missing }, [
    ...applyWords(report, signedBy),
    ...acceptedLines(accepted),
    ...missingLines(missing),
  ])
}

export function applyWords(
  { pid, outcome, id, sequence, base, functions, superseded, stop, callouts, mappings, loaded, recovered, reclaim }: ApplyReport,
  signedBy: TakenPatch['signedBy'],
): string[] {
  return [
    ...recoveryLines(recovered),
    `${good(outcome === 'applied' ? 'applied' : 'already applied')} ${strong(id)}, sequence ${sequence}, to process ${pid} on ${base.name}`,
    ...table(
      [{ title: 'function' }, { title: 'file' }, { title: 'address' }, { title: 'now at' }, { title: 'redirect' }],
      functions.map((f) => [strong(f.name), f.file, f.address, f.target, f.redirect]),
    ),
    ...(superseded ? supersededLines(superseded) : []),
    ...(stop ? [stopLine(stop)] : []),
    ...calloutLines(callouts),
    ...reclaimLines(reclaim),
    ...(loaded.length > 0 ? [`  the process has loaded ${loaded.join(', ')} for it`] : []),
    signedBy ? dim(`  signed by ${signedBy.name} (${signedBy.keyId})`) : '  taken without a signature',
    dim(
      `  ${mappings.map(({ what, address, size }) => `${what === 'image' ? 'patch image' : 'address table and ledger'} at ${address} (${size} bytes)`).join(', ')}`,
    ),
  ]
}

function supersededLines({ id, sequence, restored, kept }: Superseded): string[] {
  return [
    `  takes the place of ${strong(id)}, sequence ${sequence}`,
    ...(restored.length > 0 ? [`  as it was before any patch: ${restored.join(', ')}`] : []),
    ...(kept.length > 0 ? [`  keeps the value of ${kept.join(', ')}`] : []),
  ]
}

const OPERATIONS: Readonly<Record<CalloutReport['operation'], string>> = {
  before: 'before the switch',
  after: 'after the switch',
  undone: 'that the patch is undone',
}

const ANSWERS: Readonly<Record<CalloutReport['outcome'], (report: CalloutReport) => string>> = {
  done: () => '',
  failed: ({ result }) => bad(` and answered 0x${result.toString(16)}`),
  faulted: ({ detail }) => bad(`: ${detail}`),
  'timed-out': ({ detail }) => bad(`: ${detail}`),
  'not-called': ({ detail }) => bad(` in vain: ${detail}`),
}

export const calloutLines = (callouts: readonly CalloutReport[]): string[] =>
  callouts.map((report) => `  the callback was told ${OPERATIONS[report.operation]}${ANSWERS[report.outcome](report)}`)

export const stopLine = (stop: SwitchReport): string => `  ${stopWords(stop)}`

export function stopWords({ consistency, way, stoppedMicroseconds, longestStopMicroseconds, threads, tries }: SwitchReport): string {
  if (way === 'stores') return 'switched by single stores: no thread was stopped'
  return [
    `stood still for ${strong(`${microseconds(stoppedMicroseconds)} µs`)} with ${plural(threads, 'thread')}`,
    ...(tries === 1 ? [] : [`, at try ${tries}; the longest stop was ${microseconds(longestStopMicroseconds)} µs`]),
    ...(consistency === 'function' ? ['; single stores would not have sufficed'] : []),
  ].join('')
}

const microseconds = (value: number): string => value.toFixed(value < 10 ? 1 : 0)

const RECOVERED: Readonly<Record<Recovery['outcome'], string>> = {
  completed: 'it was switched already and is sealed now',
  withdrawn: 'nothing had been switched, and it was taken away',
  undone: 'it was undone',
  superseded: 'another patch stands in its place',
  resumed: 'it is applied again',
}

/** Bytes of several stretches of memory. */
export const total = (stretches: readonly { readonly size: number }[]): number => stretches.reduce((sum, { size }) => sum + size, 0)

export function reclaimLines({ memory, stops, longestStopMicroseconds }: ReclaimReport): string[] {
  if (stops === 0 && memory.length === 0) return []
  const ids = [...new Set(memory.map(({ id }) => id))].join(', ')
  const what = memory.length === 0 ? 'no memory of earlier patches' : `${plural(total(memory), 'byte')} of ${ids}`
  const cost = `looked for in ${plural(stops, 'further stop')}, the longest ${microseconds(longestStopMicroseconds)} µs`
  return [`  ${what} given back${stops === 0 ? '' : ` (${cost})`}`]
}

export const recoveryLines = (recovered: readonly Recovery[]): string[] =>
  recovered.map(({ id, state, outcome }) => `An engine was cut off while ${state} ${id}: ${RECOVERED[outcome]}.`)
