/** Every exit code of the command line, met in the way in which a person meets it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildServer } from '../../demo/server/build.ts'
import type { Builds } from '../../demo/subject.ts'
import { hotpatchHere, type Server, targets } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun, run } from '../../tools/run.ts'
import { json } from './hotpatch.ts'

const place = join(workshop, 'e2e/exit-codes')
const patch = join(place, 'fix.so')
let builds: Builds

beforeAll(async () => {
  builds = await buildServer(targets.elf, join(place, 'server'))
  await build(builds, patch)
})

const build = ({ before, after, base }: Omit<Builds, 'place'>, out: string) =>
  json('build', '--before', before, '--after', after, '--base', base, '-o', out)

async function started(program: string, ...args: string[]): Promise<Server> {
  const server = await targets.elf.start(program, args)
  for (const deadline = Date.now() + 10_000; server.output() === '' && Date.now() < deadline; ) await sleep(20)
  return server
}

test('2: the command line is not understood', async () => {
  expect((await hotpatchHere(['apply', '--pid', 'many', patch])).status).toBe(2)
  expect((await hotpatchHere(['no-such-command'])).status).toBe(2)
})

test('0: every command has --help with an example', async () => {
  for (const command of ['diff', 'build', 'inspect', 'check', 'apply', 'status', 'verify', 'rollback']) {
    const { status, stdout } = await hotpatchHere([command, '--help'])
    expect({ command, status }).toEqual({ command, status: 0 })
    expect(stdout).toContain(`hotpatch ${command} `)
  }
})

describe('6: bad input', () => {
  test('a file that is not there', async () => {
    expect(await json('inspect', join(place, 'missing'))).toMatchObject({ outcome: 'error', exit: 6, error: { code: 'FILE_UNREADABLE' } })
  })
  test('a file that is no patch image', async () => {
    expect(await json('apply', '--allow-unsigned', '--pid', `${process.pid}`, builds.base)).toMatchObject({
      exit: 6,
      error: { code: 'NOT_A_PATCH_IMAGE' },
    })
  })
  test('a file of no known format', async () => {
    const file = join(place, 'text')
    writeFileSync(file, 'no image\n')
    expect(await json('inspect', file)).toMatchObject({ exit: 6, error: { code: 'FORMAT_UNKNOWN' } })
  })
  test('a process that is not there', async () => {
    expect(await json('apply', '--allow-unsigned', '--pid', '4194304', patch)).toMatchObject({ exit: 6, error: { code: 'PROCESS_GONE' } })
  })
})

describe('3: refused, with the reason', () => {
  test('the process does not map the base image', async () => {
    const other = await started('/bin/sh', '-c', 'echo up; exec sleep 60')
    try {
      expect(await json('check', '--pid', `${other.pid}`, patch)).toMatchObject({ outcome: 'would-refuse', exit: 3 })
      expect(await json('apply', '--allow-unsigned', '--pid', `${other.pid}`, patch)).toMatchObject({
        exit: 3,
        error: { code: 'BASE_NOT_MAPPED' },
      })
    } finally {
      await other.stop()
    }
  })

  test('the process runs another build of the program', async () => {
    const base = join(place, 'server-after')
    await mustRun('bash', ['-c', `gcc ${builds.after}/*.o -pthread -o ${base}`])
    const other = await started(base)
    try {
      const { exit, error } = await json('apply', '--allow-unsigned', '--pid', `${other.pid}`, patch)
      expect(exit).toBe(3)
      expect(JSON.stringify(error)).toMatch(/BASE_(NOT_MAPPED|MISMATCH)/)
    } finally {
      await other.stop()
    }
  })

  test('the fix changes the initial value of a variable', async () => {
    const folders = await Promise.all(['1', '2'].map((value) => compileVariable(value)))
    const { outcome, exit } = await json('diff', ...folders)
    expect({ outcome, exit }).toEqual({ outcome: 'refused', exit: 3 })
  })
})

async function compileVariable(value: string): Promise<string> {
  const folder = join(place, `variable-${value}`)
  mkdirSync(folder, { recursive: true })
  // Each its own file: the other compiler may be reading.
  const source = join(folder, 'variable.c')
  writeFileSync(source, 'int limit = VALUE;\nint reached(int n) { return n >= limit; }\n')
  await mustRun('gcc', [
    '-O2',
    '-ffunction-sections',
    '-fdata-sections',
    `-DVALUE=${value}`,
    '-c',
    source,
    '-o',
    join(folder, 'variable.o'),
  ])
  return folder
}

describe('4: busy', () => {
  let server: Server
  const folder = join(place, 'busy')
  beforeAll(async () => {
    rmSync(folder, { recursive: true, force: true })
    const sources = join(clone, 'test/e2e/busy')
    for (const [version, ...defines] of [['before'], ['after', '-DAFTER']] as const) {
      mkdirSync(join(folder, version), { recursive: true })
      for (const [source, object] of [
        ['identify.S', 'identify.o'],
        ['main.c', 'main.o'],
      ] as const)
        await mustRun('gcc', [
          '-O2',
          '-pthread',
          '-ffunction-sections',
          ...defines,
          '-c',
          join(sources, source),
          '-o',
          join(folder, version, object),
        ])
    }
    await mustRun('gcc', [join(folder, 'before/identify.o'), join(folder, 'before/main.o'), '-pthread', '-o', join(folder, 'busy')])
    // At a lower priority, or hotpatch itself would hardly run.
    server = await started('nice', '-n', '5', join(folder, 'busy'))
  })
  afterAll(() => server?.stop())

  test('threads inside the bytes to be overwritten at any moment: thread and function are named, and nothing was done', async () => {
    const out = join(folder, 'identify.so')
    expect(await build({ before: join(folder, 'before'), after: join(folder, 'after'), base: join(folder, 'busy') }, out)).toMatchObject({
      exit: 0,
    })
    const { exit, error } = await json('apply', '--allow-unsigned', '--pid', `${server.pid}`, '--timeout', '5', out)
    expect({ exit, code: error.code }).toEqual({ exit: 4, code: 'BUSY' })
    expect(error.detail).toContain('identify')
    expect(error.detail).toContain(`${server.pid}`)
    expect(await json('status', '--pid', `${server.pid}`)).toMatchObject({ outcome: 'nothing-patched', exit: 0 })
    expect(server.running()).toBe(true)
  })
})

describe('5: no permission', () => {
  test('a process that is being debugged: the debugger is named, and goes on', async () => {
    const server = await started(builds.base, '0')
    const debugging = spawn('gdb', ['-q', '-p', `${server.pid}`, '-ex', 'echo attached\\n'], { stdio: ['pipe', 'pipe', 'ignore'] })
    try {
      for await (const chunk of debugging.stdout.iterator({ destroyOnReturn: false })) if (`${chunk}`.includes('attached')) break
      for (const command of [['apply', '--allow-unsigned'], ['rollback']]) {
        const answer = await json(...command, '--pid', `${server.pid}`, ...(command[0] === 'apply' ? [patch] : []))
        expect(answer).toMatchObject({ exit: 5, error: { code: 'PROCESS_TRACED', facts: { tracer: debugging.pid } } })
      }
      debugging.stdin.end('detach\nquit\n')
      expect(await once(debugging, 'exit')).toEqual([0, null])
      expect(server.running()).toBe(true)
    } finally {
      debugging.kill('SIGKILL')
      await server.stop()
    }
  })

  const root = process.getuid?.() === 0
  test.skipIf(!root)('a process with more capabilities is left alone, and what is missing is named', async () => {
    const server = await started(builds.base, '0')
    try {
      const bare = ['--bounding-set=-all', '--inh-caps=-all', process.execPath, join(clone, 'bin/hotpatch')]
      const { status, stdout } = await run('setpriv', [...bare, 'apply', '--allow-unsigned', '--pid', `${server.pid}`, patch, '--json'])
      expect(status).toBe(5)
      expect(JSON.parse(stdout)).toMatchObject({ exit: 5, error: { code: 'PERMISSION_DENIED' } })
    } finally {
      await server.stop()
    }
  })
})
