/** A fix that changes the signature of what a program exports: right for every process but those with a plug-in that uses it. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { json } from './hotpatch.ts'

const SOURCES = join(clone, 'test/e2e/exports')
const place = join(workshop, 'e2e', 'exports')
const at = (name: string): string => join(place, name)
const PLUGINS = {
  linked: ['gcc', '-DLINKED'],
  asked: ['gcc', '-DASKED'],
  merged: ['gcc', '-DMERGED'],
  table: ['clang-19', '-DTABLE'],
  longer: ['gcc', '-DLONGER'],
  none: ['gcc', '-DNONE'],
} as const
type Plugin = keyof typeof PLUGINS

const [BEFORE, AFTER] = ['16 6', '5 6']

describe('a fix that changes the signature of what a program exports', () => {
  let server: Server | undefined
  afterEach(() => server?.stop())
  beforeAll(make, 60_000)

  const start = async (plugin: Plugin): Promise<Server> => {
    server = await targets.elf.start(at('program'), [at(`${plugin}.so`)])
    await untilLast(server, BEFORE)
    return server
  }

  test('the build says so, and the patch image', async () => {
    const built = await json('build', '--before', at('before.o'), '--after', at('after.o'), '--base', at('program'), '-o', at('again.so'))
    expect(built.result.report.remarks).toContainEqual(expect.objectContaining({ code: 'EXPORT_RETYPED', symbol: 'scale' }))
    expect((await json('inspect', at('again.so'))).result).toMatchObject({ mustBeUnused: ['scale'], consistency: 'patch' })
  })

  test.each(['none', 'longer'] as const)(
    'it comes and goes, and another takes its place, where no plug-in names it: %s',
    async (plugin) => {
      const running = await start(plugin)
      const pid = `${running.pid}`
      for (const patch of ['first.so', 'second.so']) {
        expect(await json('apply', '--pid', pid, '--allow-unsigned', at(patch))).toMatchObject({ outcome: 'applied', exit: 0 })
        await untilLast(running, AFTER)
      }
      expect(await json('rollback', '--pid', pid)).toMatchObject({ outcome: 'rolled-back', exit: 0 })
      await untilLast(running, BEFORE)
    },
  )

  test.each(['linked', 'asked', 'merged', 'table'] as const)('it is refused where a plug-in uses it: %s', async (plugin) => {
    const running = await start(plugin)
    const pid = `${running.pid}`
    const detail = `${at(`${plugin}.so`)} names scale, whose signature the patch changes`
    const blocker = expect.objectContaining({ code: 'EXPORT_IN_USE', symbol: 'scale', detail })
    const checked = await json('check', '--pid', pid, at('first.so'))
    expect(checked).toMatchObject({ outcome: 'would-refuse', exit: 3, result: { blockers: [blocker] } })
    const applied = await json('apply', '--pid', pid, '--allow-unsigned', at('first.so'))
    expect(applied).toMatchObject({ exit: 3, error: { code: 'EXPORT_IN_USE' } })
    expect(await json('status', '--pid', pid)).toMatchObject({ outcome: 'nothing-patched' })
  })
})

async function make(): Promise<void> {
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  const flags = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', `-ffile-prefix-map=${clone}=.`]
  await mustRun('gcc', [...flags, '-c', join(SOURCES, 'program.c'), '-o', at('before.o')])
  await mustRun('gcc', [...flags, '-DAFTER', '-c', join(SOURCES, 'program.c'), '-o', at('after.o')])
  await mustRun('gcc', ['-rdynamic', at('before.o'), '-o', at('program')])
  for (const [name, [compiler, define]] of Object.entries(PLUGINS))
    await mustRun(compiler, [...flags, define, '-fPIC', '-shared', join(SOURCES, 'plugin.c'), '-o', at(`${name}.so`)])
  const files = ['--before', at('before.o'), '--after', at('after.o'), '--base', at('program')]
  await json('build', ...files, '-o', at('first.so'), '--id', 'first')
  await json('build', ...files, '-o', at('second.so'), '--id', 'second', '--sequence', '2')
}

async function untilLast(server: Server, line: string): Promise<void> {
  const from = server.output().length
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(20))
    if (server.output().slice(from).split('\n').slice(0, -1).at(-1) === line) return
  throw new Error(`no line "${line}" came: ${server.output().slice(-200)}`)
}
