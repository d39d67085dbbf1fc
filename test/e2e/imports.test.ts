/** A fix that calls what the program never imported, from libraries that are loaded and from one that is not. */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Server, type Target, type TargetName, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun, run } from '../../tools/run.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { json, jsonBeside } from './hotpatch.ts'

interface Make {
  readonly flags: readonly string[]
  /** The one that the process has not loaded. */
  readonly library: { readonly name: string; readonly file: string }
  readonly imports: readonly string[]
  /** Prints the imports of a file, one a line at least. */
  readonly dump: readonly [program: string, ...args: string[]]
}

const LIBZ = ['/lib/x86_64-linux-gnu/libz.so.1', '/usr/lib64/libz.so.1', '/lib64/libz.so.1'].find((file) => existsSync(file)) ?? 'libz.so.1'

const MAKES: Readonly<Record<TargetName, Make>> = {
  elf: {
    flags: ['-fPIC'],
    library: { name: 'libz.so.1', file: LIBZ },
    imports: ['compressBound', 'optind', 'strcspn'],
    dump: ['readelf', '--dyn-syms', '--wide'],
  },
  pe: {
    flags: [],
    library: { name: 'SHLWAPI.dll', file: '/usr/x86_64-w64-mingw32/lib/libshlwapi.a' },
    imports: ['HeapAlloc', 'HeapFree', 'HeapSize', 'StrToIntA', 'lstrlenA'],
    dump: ['llvm-readobj-19', '--coff-imports'],
  },
}

async function build(target: Target, place: string, { flags }: Make): Promise<string> {
  rmSync(place, { recursive: true, force: true })
  for (const [folder, more] of [
    ['before', []],
    ['after', ['-DWITH_FIX']],
  ] as const) {
    mkdirSync(join(place, folder), { recursive: true })
    const all = ['-O2', '-fno-builtin', '-ffunction-sections', '-fdata-sections', ...flags, ...more]
    await mustRun(target.compiler, [...all, '-c', join(clone, 'test/e2e/imports/program.c'), '-o', join(place, folder, 'program.o')])
  }
  const program = join(place, `program${target.programSuffix}`)
  await mustRun(target.compiler, [join(place, 'before/program.o'), '-o', program])
  return program
}

const lastLine = (server: Server): string => server.output().split(/\r?\n/).at(-2) ?? ''

async function until(server: Server, version: string): Promise<string> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50))
    if (lastLine(server).startsWith(version)) return lastLine(server)
  throw new Error(`no "${version}" line came: ${lastLine(server)}`)
}

const wine = wineAvailable()

describe.each(Object.values(targets))('$title: new imports', (target) => {
  if (target.name === 'pe' && !wine.available) {
    test.skip(`needs Wine: ${wine.reason}`)
    return
  }
  const make = MAKES[target.name]
  const place = join(workshop, 'e2e', `imports-${target.name}`)
  const patch = join(place, `patch${target.patchSuffix}`)
  let program: string
  let server: Server
  const buildPatch = (out: string, ...more: string[]) =>
    json(
      'build',
      '--before',
      join(place, 'before'),
      '--after',
      join(place, 'after'),
      '--base',
      program,
      '-o',
      out,
      '--id',
      'imports',
      ...more,
    )

  beforeAll(async () => {
    program = await build(target, place, make)
    server = await target.start(program, [])
    await until(server, 'old')
  })
  afterAll(async () => {
    await server?.stop()
    await target.close()
  })
  const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${server.pid}`, ...args)

  test('a library that nothing leads to must be named', async () => {
    const { exit, error } = await buildPatch(join(place, `none${target.patchSuffix}`))
    expect(exit).toBe(3)
    expect(error.facts.reasons.map(({ code }: { code: string }) => code)).toContain('IMPORT_NEW')
  })

  test('build, inspect and other tools show the imports', async () => {
    const { exit, result } = await buildPatch(patch, '--library', make.library.file)
    expect(exit).toBe(0)
    const names = (imports: { name: string }[]) => imports.map(({ name }) => name)
    expect(names(result.report.ownImports)).toEqual(expect.arrayContaining([...make.imports]))
    const inspected = await json('inspect', patch)
    expect(names(inspected.result.ownImports)).toEqual(expect.arrayContaining([...make.imports]))
    expect(inspected.result.libraries.map((name: string) => name.toLowerCase())).toContain(make.library.name.toLowerCase())
    const [tool, ...args] = make.dump
    const { status, stdout, stderr } = await run(tool, [...args, patch])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    for (const name of make.imports) expect(stdout).toContain(name)
  })

  test('the process loads what it lacks, and everything is called', async () => {
    const check = await beside('check', target.path(patch))
    expect(check).toMatchObject({ outcome: 'would-apply', exit: 0 })
    expect(check.result.loads.map((name: string) => name.toLowerCase())).toEqual([make.library.name.toLowerCase()])
    const applied = await beside('apply', '--allow-unsigned', target.path(patch))
    expect(applied).toMatchObject({ outcome: 'applied', exit: 0 })
    expect(applied.result.loaded).toEqual(check.result.loads)
    expect(await until(server, 'new')).toMatch(/^new \d+ 1018$/)
    expect(await beside('verify')).toMatchObject({ outcome: 'verified', exit: 0 })
    expect(await beside('rollback')).toMatchObject({ outcome: 'rolled-back', exit: 0 })
    await until(server, 'old')
  })

  test('the next time it is loaded already', async () => {
    const { outcome, result } = await beside('apply', '--allow-unsigned', target.path(patch))
    expect(outcome).toBe('applied')
    expect(result.loaded).toEqual([])
    expect(await until(server, 'new')).toMatch(/^new \d+ 1018$/)
  })
})
