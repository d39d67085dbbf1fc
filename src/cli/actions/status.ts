import { type PatchStatus, type ProcessStatus, statusOf, statusOfAll } from '../../engine/status.ts'
import { hostBackend } from '../../process/host.ts'
import { type Answer, done } from '../answer.ts'
import { withProcess } from '../live.ts'
import { bad, dim, good, strong, table } from '../words.ts'
import { lookedAt } from './everywhere.ts'

export async function status({ pid, name }: { readonly pid: number | undefined; readonly name: string | undefined }): Promise<Answer> {
  if (pid === undefined) {
    const all = statusOfAll(await hostBackend(), name)
    return done(all.processes.length === 0 ? 'nothing-patched' : 'patched', all, [
      ...(all.processes.length === 0 ? ['No process carries a patch.'] : all.processes.flatMap(processWords)),
      dim(lookedAt(all.looked, all.unreadable)),
    ])
  }
  const one = await withProcess(pid, statusOf)
  const patched = one.patches.length + one.damaged.length > 0
  return done(patched ? 'patched' : 'nothing-patched', { processes: [one], looked: 1, unreadable: {} }, [
    ...(patched ? processWords(one) : [`Process ${pid} carries no patch.`]),
  ])
}

const processWords = ({ pid, name, patches, damaged }: ProcessStatus): string[] => [
  `${strong(String(pid))} ${name}`,
  ...patches.flatMap(patchWords),
  ...damaged.map(({ code, detail }) => bad(`  ${code}: ${detail}`)),
]

const STATES: Readonly<Record<string, string>> = {
  applied: good('applied'),
  reverted: dim('undone'),
  superseded: dim('superseded'),
}

const RECOVERIES: Readonly<Record<PatchStatus['recovery'], string>> = {
  none: '',
  complete: 'the next apply or rollback will seal it as applied',
  withdraw: 'nothing is switched; the next apply or rollback will take it away',
  undo: 'the next apply or rollback will undo it',
  supersede: 'another patch stands in its place; the next apply or rollback will seal it as superseded',
  resume: 'the next apply or rollback will seal it as applied again',
}

function patchWords(patch: PatchStatus): string[] {
  const { id, sequence, state, base, functions, cves, description, appliedAt, revertedAt, recovery, supersedes, supersededBy } = patch
  const when = revertedAt ?? appliedAt
  const head = `  ${recovery === 'none' ? (STATES[state] ?? state) : bad(`cut off while ${state}`)} ${strong(id)}, sequence ${sequence}, on ${base.name}${when ? `, ${when}` : ''}`
  const by = supersededBy ? ` by ${supersededBy.id}` : ''
  if (state === 'superseded') return [`${head}${by}; ${patch.image.size + patch.region.size} bytes stay mapped`]
  if (state === 'reverted') return [`${head}; ${patch.image.size + patch.region.size} bytes stay mapped`]
  return [
    head,
    ...(cves.length > 0 ? [`    ${cves.join(' ')}`] : []),
    ...(description === '' ? [] : [`    ${description}`]),
    ...(supersedes ? [`    in the place of ${supersedes.id}, sequence ${supersedes.sequence}`] : []),
    ...(recovery === 'none' ? [] : [`    ${RECOVERIES[recovery]}`]),
    ...table(
      [{ title: 'function' }, { title: 'file' }, { title: 'address' }, { title: 'now at' }, { title: 'redirect' }],
      functions.map((f) => [strong(f.name), f.file, f.address, f.target, f.redirect]),
      '    ',
    ),
  ]
}
