/** A stripped library of a running stripped program: its symbols lie in a debug file, in a PDB, in a linker map. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, type Target, type TargetName, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'

const SOURCES = join(clone, 'test/e2e/library')

interface Make {
  readonly library: string
  readonly compiler: readonly string[]
  readonly link: readonly string[]
  readonly linkHost: readonly string[]
  /** Takes the symbols out of what was linked. */
  readonly strip: string
  /** What the symbols are in, in the folder `symbols`. */
  readonly symbols: readonly string[]
}

const MAKES: Readonly<Record<TargetName, Make>> = {
  elf: {
    library: 'libcounter.so',
    compiler: ['gcc', '-fPIC', '-fvisibility=hidden'],
    link: ['-shared', '-Wl,-soname,libcounter.so', '-Wl,-Map=symbols/libcounter.map'],
    linkHost: ['-Wl,-rpath,$ORIGIN'],
    strip: 'strip',
    symbols: ['symbols', 'symbols/libcounter.debug', 'symbols/libcounter.map'],
  },
  pe: {
    library: 'counter.dll',
    compiler: ['clang-19', '--target=x86_64-w64-mingw32', '-fms-hotpatch', '-gcodeview'],
    link: ['-shared', '-fuse-ld=lld-19', '-Wl,-Xlink=-functionpadmin:16', '-Wl,--pdb=symbols/counter.pdb', '-Wl,-Map=symbols/counter.map'],
    linkHost: [],
    strip: 'llvm-strip-19',
    symbols: ['symbols', 'symbols/counter.pdb', 'symbols/counter.map'],
  },
}

/** In `place`: before/, after/, symbols/, the library and the program that uses it. */
async function build(target: Target, place: string): Promise<{ host: string; library: string }> {
  const { library, compiler, link, linkHost, strip } = MAKES[target.name]
  const [program = '', ...flags] = compiler
  const here = { cwd: place }
  rmSync(place, { recursive: true, force: true })
  mkdirSync(join(place, 'symbols'), { recursive: true })
  for (const version of ['before', 'after']) {
    mkdirSync(join(place, version), { recursive: true })
    const source = join(SOURCES, version, 'counter.c')
    await mustRun(
      program,
      [...flags, '-O2', '-g', '-ffunction-sections', '-fdata-sections', `-I${SOURCES}`, '-c', source, '-o', `${version}/counter.o`],
      here,
    )
  }
  await mustRun(program, [...flags, 'before/counter.o', '-o', library, ...link], here)
  await mustRun(program, [...flags, '-O2', `-I${SOURCES}`, join(SOURCES, 'host.c'), library, '-o', 'host.exe', ...linkHost], here)
  if (target.name === 'elf') await mustRun('objcopy', ['--only-keep-debug', library, 'symbols/libcounter.debug'], here)
  await mustRun(strip, [library, 'host.exe'], here)
  return { host: join(place, 'host.exe'), library: join(place, library) }
}

/** The first word of the last whole line. */
const lastVersion = (server: Server): string | undefined =>
  server
    .output()
    .split(/\r?\n/)
    .slice(0, -1)
    .map((line) => line.split(' ')[0])
    .at(-1)

async function untilLast(server: Server, version: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) if (lastVersion(server) === version) return
  throw new Error(`no "${version}" line came: ${server.output().slice(-200)}`)
}

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: a stripped library of a running program', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const place = join(workshop, 'e2e', `stripped-${target.name}`)
  const { symbols } = MAKES[target.name]
  let library: string
  let server: Server

  beforeAll(async () => {
    const built = await build(target, place)
    library = built.library
    server = await target.start(built.host, [])
    await untilLast(server, 'old')
  })
  afterAll(async () => {
    await server?.stop()
    await target.close()
  })

  const patchFor = (symbol: string): string => join(place, `patch-${symbols.indexOf(symbol)}${target.patchSuffix}`)
  const make = (symbol: string) =>
    json(
      'build',
      '--before',
      join(place, 'before'),
      '--after',
      join(place, 'after'),
      '--base',
      library,
      '--symbols',
      join(place, symbol),
      '-o',
      patchFor(symbol),
    )
  const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${server.pid}`, ...args)

  test.each(symbols.slice(1))('with %s, the patch is applied and undone', async (symbol) => {
    const built = await make(symbol)
    expect(built).toMatchObject({ outcome: 'built', exit: 0, result: { report: { base: { symbols: join(place, symbol) } } } })
    // mingw's snprintf is an inline function, into which clang has put the text that changed.
    const texts = target.name === 'pe' ? 'snprintf' : 'counter_next'
    const found = built.result.report.functions.map(({ name, found }: Record<string, string>) => `${name} ${found}`)
    expect(found.sort()).toEqual([`${texts} symbol`, 'scaled symbol'].sort())
    expect(await beside('apply', '--allow-unsigned', target.path(patchFor(symbol)))).toMatchObject({ outcome: 'applied', exit: 0 })
    await untilLast(server, 'new')
    expect(await beside('verify')).toMatchObject({ outcome: 'verified', exit: 0 })
    expect(await beside('rollback')).toMatchObject({ outcome: 'rolled-back', exit: 0 })
    await untilLast(server, 'old')
  })

  test('in a folder they are found under the name that the image gives them', async () => {
    const [folder = '', file = ''] = symbols
    if (target.name === 'elf') {
      const { result } = await json('inspect', library)
      const at = join(place, folder, '.build-id', result.buildId.slice(0, 2))
      mkdirSync(at, { recursive: true })
      renameSync(join(place, file), join(at, `${result.buildId.slice(2)}.debug`))
    }
    const built = await make(folder)
    expect(built).toMatchObject({ outcome: 'built', exit: 0 })
    expect(existsSync(built.result.report.base.symbols)).toBe(true)
    expect(built.result.report.functions.length).toBe(2)
  })

  test('symbols of another image are refused', async () => {
    const other = await json(
      'build',
      '--before',
      join(place, 'before'),
      '--after',
      join(place, 'after'),
      '--base',
      join(place, 'host.exe'),
      '--symbols',
      join(place, symbols[2] ?? ''),
      '-o',
      join(place, 'never'),
    )
    expect(other).toMatchObject({ outcome: 'error', exit: 6, error: { code: 'SYMBOLS_MISMATCH' } })
  })
})
