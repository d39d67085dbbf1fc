/** Several base images in one update: a patch image for each that changes, applied together or not at all. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'
import { buildUpdateSubject, type Update, untilLine } from './update.ts'

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: one update of several images', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const place = join(workshop, 'e2e', `update-${target.name}`)
  const out = join(place, 'patches')
  const servers: Server[] = []
  let subject: Update
  const patchOf = (image: string) => target.path(join(out, `${basename(image).replace(/\.\w+$/, '')}.hotpatch${target.patchSuffix}`))
  const build = (after: string, folder: string) =>
    json(
      ...['build', '--before', subject.folders.before, '--after', after, '-o', folder],
      ...[subject.app, subject.library, subject.tool, subject.idle].flatMap((image) => ['--base', image]),
    )

  beforeAll(async () => {
    subject = await buildUpdateSubject(target, place)
    for (const program of [subject.app, subject.tool]) servers.push(await target.start(program, []))
    await untilLine(servers[0] as Server, 'app old, lib old, parse old')
    await untilLine(servers[1] as Server, 'parse old')
  })
  afterAll(async () => {
    for (const server of servers) await server.stop()
    await target.close()
  })
  const beside = (index: number, verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${servers[index]?.pid}`, ...args)

  test('an image that is refused is named, and nothing is written for any', async () => {
    const folder = join(place, 'none')
    const { exit, error } = await build(subject.folders.refused, folder)
    expect({ exit, code: error.code, images: error.facts.images }).toEqual({
      exit: 3,
      code: 'REFUSED',
      images: [basename(subject.library)],
    })
    expect(error.facts.reasons).toMatchObject([{ code: 'DATA_CHANGED', symbol: 'lib_step', image: basename(subject.library) }])
    expect(existsSync(folder)).toBe(false)
  })

  test('a patch image for each that something changes in, and word of the others', async () => {
    const { outcome, exit, result } = await build(subject.folders.after, out)
    expect({ outcome, exit }).toEqual({ outcome: 'built', exit: 0 })
    const made = [result, ...result.others].map(({ report }) => [
      report.base.name,
      report.functions.map(({ name }: { name: string }) => name),
    ])
    expect(made).toEqual([
      [basename(subject.app), expect.arrayContaining(['app_line', 'parse_version'])],
      [basename(subject.library), ['lib_version']],
      [basename(subject.tool), ['parse_version']],
    ])
    expect(result.unchanged).toEqual([basename(subject.idle)])
    expect(result.others[0].report.remarks).toEqual([])
    expect(readdirSync(out).sort()).toEqual(
      [subject.app, subject.library, subject.tool].map((image) => basename(patchOf(image).replaceAll('\\', '/'))).sort(),
    )
    const { result: inspected } = await json('inspect', result.file)
    expect(inspected.together.map(({ base }: { base: string }) => base)).toEqual(
      [subject.app, subject.library, subject.tool].map((p) => basename(p)),
    )
  })

  test('the same update gives the same bytes', async () => {
    const again = join(place, 'again')
    await build(subject.folders.after, again)
    for (const name of readdirSync(out)) expect(readFileSync(join(again, name)).equals(readFileSync(join(out, name)))).toBe(true)
    rmSync(again, { recursive: true })
  })

  test('one whose base image the process lacks: none is applied', async () => {
    const { exit, error } = await beside(0, 'apply', '--allow-unsigned', patchOf(subject.app), patchOf(subject.tool))
    expect({ exit, code: error.code }).toEqual({ exit: 3, code: 'BASE_NOT_MAPPED' })
    expect(await beside(0, 'status')).toMatchObject({ outcome: 'nothing-patched' })
  })

  test('check looks at both, and says so for each', async () => {
    const { outcome, exit, result } = await beside(0, 'check', patchOf(subject.app), patchOf(subject.library))
    expect({ outcome, exit }).toEqual({ outcome: 'would-apply', exit: 0 })
    expect(result.patches.map((patch: { outcome: string }) => patch.outcome)).toEqual(['would-apply', 'would-apply'])
    const refused = await beside(0, 'check', patchOf(subject.app), patchOf(subject.tool))
    expect({ outcome: refused.outcome, exit: refused.exit }).toEqual({ outcome: 'would-refuse', exit: 3 })
  })

  test('program and library switch in one stop', async () => {
    const { outcome, exit, result } = await beside(0, 'apply', '--allow-unsigned', patchOf(subject.app), patchOf(subject.library))
    expect({ outcome, exit }).toEqual({ outcome: 'applied', exit: 0 })
    const [first, second] = result.patches
    expect(first.stop).toEqual(second.stop)
    expect(result.missing.map(({ base }: { base: string }) => base)).toEqual([basename(subject.tool)])
    await untilLine(servers[0] as Server, 'app new, lib new, parse new')
    expect(await beside(0, 'verify')).toMatchObject({ outcome: 'verified', exit: 0 })
  })

  test('the variables go on, and no line but the one of the switch is of two versions', () => {
    const lines = servers[0]?.output().trimEnd().split(/\r?\n/) ?? []
    expect(lines.map((line) => Number(line.split(', ').at(-1)))).toEqual(lines.map((_, index) => index + 1))
    const mixed = lines.filter((line) => line.includes('old') && line.includes('new'))
    // app_line is one of those that switch: no thread is inside it then.
    expect(mixed).toEqual([])
  })

  test('with --all every process gets those that concern it', async () => {
    const { outcome, exit, result } = await jsonBeside(
      target,
      'apply',
      '--all',
      '--allow-unsigned',
      ...[subject.app, subject.library, subject.tool].map(patchOf),
    )
    expect({ outcome, exit }).toEqual({ outcome: 'applied', exit: 0 })
    const came = Object.fromEntries(
      result.processes.map((process: { pid: number; outcome: string; report: { patches: { id: string }[] } }) => [
        process.pid,
        [process.outcome, process.report.patches.length],
      ]),
    )
    expect(came).toEqual({ [servers[0]?.pid ?? 0]: ['already-applied', 2], [servers[1]?.pid ?? 0]: ['applied', 1] })
    await untilLine(servers[1] as Server, 'parse new')
  })

  test('without a word of which, nothing is rolled back', async () => {
    const { exit, error } = await beside(0, 'rollback')
    expect({ exit, code: error.code }).toEqual({ exit: 2, code: 'PATCH_AMBIGUOUS' })
  })

  test('both are rolled back in one stop', async () => {
    const { result } = await beside(0, 'status')
    const ids: string[] = result.processes[0].patches.map(({ id }: { id: string }) => id)
    const undone = await beside(0, 'rollback', ...ids.flatMap((id) => ['--id', id]))
    expect({ outcome: undone.outcome, exit: undone.exit }).toEqual({ outcome: 'rolled-back', exit: 0 })
    const [first, second] = undone.result.patches
    expect(first.stop).toEqual(second.stop)
    await untilLine(servers[0] as Server, 'app old, lib old, parse old')
    const lines = servers[0]?.output().trimEnd().split(/\r?\n/) ?? []
    expect(lines.filter((line) => line.includes('old') && line.includes('new'))).toEqual([])
    expect(await beside(0, 'verify')).toMatchObject({ exit: 0 })
  })

  test('with --all, several in every process that carries one', async () => {
    const ids: string[] = []
    for (const image of [subject.app, subject.library, subject.tool]) {
      const { result } = await json('inspect', join(out, basename(patchOf(image).replaceAll('\\', '/'))))
      ids.push(result.id)
    }
    const again = await beside(0, 'apply', '--allow-unsigned', patchOf(subject.app), patchOf(subject.library))
    expect(again.outcome).toBe('applied')
    const { outcome, exit, result } = await jsonBeside(target, 'rollback', '--all', ...ids.flatMap((id) => ['--id', id]))
    expect({ outcome, exit, counts: result.counts }).toEqual({ outcome: 'rolled-back', exit: 0, counts: { 'rolled-back': 2 } })
    await untilLine(servers[0] as Server, 'app old, lib old, parse old')
    await untilLine(servers[1] as Server, 'parse old')
  })
})
