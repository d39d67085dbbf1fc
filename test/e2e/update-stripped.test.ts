/** An update of several images that were shipped without their symbols, which lie in a debug file for each. */
import { existsSync, mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, targets } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'
import { buildUpdateSubject, lastLine, type Update, untilLine } from './update.ts'

const wine = wineAvailable()
const PREFIX = { elf: '', pe: 'x86_64-w64-mingw32-' } as const

describe.each(Object.values(targets))('$title: one update of several stripped images', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const place = join(workshop, 'e2e', `update-stripped-${target.name}`)
  const symbols = join(place, 'symbols')
  const symbolsOf = (image: string): string => join(symbols, `${basename(image)}.debug`)
  const build = (folder: string, images: readonly string[], files: readonly string[]) =>
    json(
      ...['build', '--before', subject.folders.before, '--after', subject.folders.after, '-o', join(place, folder)],
      ...images.flatMap((image) => ['--base', image]),
      ...files.flatMap((file) => ['--symbols', file]),
    )
  let subject: Update
  let all: readonly string[]
  let server: Server

  beforeAll(async () => {
    subject = await buildUpdateSubject(target, place)
    all = [subject.app, subject.library, subject.tool, subject.idle]
    mkdirSync(symbols)
    const tool = (name: string) => `${PREFIX[target.name]}${name}`
    for (const image of all) {
      await mustRun(tool('objcopy'), ['--only-keep-debug', image, symbolsOf(image)])
      await mustRun(tool('strip'), [image])
      // mingw's tools give what they write a time stamp of its own: the link alone tells whose the file is.
      await mustRun(tool('objcopy'), [`--add-gnu-debuglink=${symbolsOf(image)}`, image])
    }
    server = await target.start(subject.app, [])
    await untilLine(server, 'app old, lib old, parse old')
  })
  afterAll(async () => {
    await server?.stop()
    await target.close()
  })
  const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${server.pid}`, ...args)

  test('each takes its symbols from its own file, in whatever order they are given', async () => {
    const { outcome, exit, result } = await build('patches', all, all.map(symbolsOf).reverse())
    expect({ outcome, exit }).toEqual({ outcome: 'built', exit: 0 })
    const made = [result, ...result.others].map(({ report }) => [report.base.name, report.base.symbols, report.functions.length])
    expect(made).toEqual([
      [basename(subject.app), symbolsOf(subject.app), 2],
      [basename(subject.library), symbolsOf(subject.library), 1],
      [basename(subject.tool), symbolsOf(subject.tool), 1],
    ])
    expect(result.unchanged).toEqual([basename(subject.idle)])
  })

  test('program and library switch in one stop, and back in one', async () => {
    const { result } = await build('patches', all, [symbols])
    const patches = [result.file, result.others[0].file].map((file: string) => target.path(file))
    const applied = await beside('apply', '--allow-unsigned', ...patches)
    expect(applied).toMatchObject({ outcome: 'applied', exit: 0 })
    expect(applied.result.patches[0].stop).toEqual(applied.result.patches[1].stop)
    await untilLine(server, 'app new, lib new, parse new')
    const ids = [result, result.others[0]].flatMap(({ report }) => ['--id', report.id])
    expect(await beside('rollback', ...ids)).toMatchObject({ outcome: 'rolled-back', exit: 0 })
    await untilLine(server, 'app old, lib old, parse old')
    expect(Number(lastLine(server).split(', ').at(-1))).toBeGreaterThan(1)
  })

  test('without any symbols: what is too short to be told by its bytes is refused for all, nothing is guessed', async () => {
    const bare = await build('bare', all, [])
    if (target.name === 'elf') {
      expect({ exit: bare.exit, code: bare.error.code }).toEqual({ exit: 3, code: 'REFUSED' })
      expect(bare.error.facts.reasons).toContainEqual(
        expect.objectContaining({ code: 'SYMBOL_MISSING', symbol: 'parse_version', image: 'tool' }),
      )
      expect(existsSync(join(place, 'bare'))).toBe(false)
      return
    }
    const { outcome, exit, result } = bare
    expect({ outcome, exit }).toEqual({ outcome: 'built', exit: 0 })
    const made = [result, ...result.others].map(({ report }) => [
      report.base.name,
      report.functions.map(({ name, found }: Record<string, string>) => `${name} ${found}`).sort(),
    ])
    // The library exports its function.
    expect(made).toEqual([
      [basename(subject.app), ['app_line content', 'parse_version content']],
      [basename(subject.library), ['lib_version symbol']],
      [basename(subject.tool), ['parse_version content']],
    ])
  })

  test('a file with symbols of none of them is refused, and nothing is written', async () => {
    const { exit, error } = await build('none', [subject.app, subject.library], [symbolsOf(subject.idle)])
    expect({ exit, code: error.code }).toEqual({ exit: 6, code: 'SYMBOLS_MISMATCH' })
    expect(existsSync(join(place, 'none'))).toBe(false)
  })
})
