/** `hotpatch build --source` with real build systems and compilers: two builds, the right images, and a patch that a live process takes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hotpatchHere } from '../../demo/target.ts'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import { type Document, json } from '../e2e/hotpatch.ts'

const projects = join(clone, 'test/builder/sources')
const place = join(workshop, 'sources')

beforeAll(() => rmSync(place, { recursive: true, force: true }))

interface Build {
  readonly project: string
  readonly diff: string
  readonly out: string
  readonly command: readonly string[]
  readonly more?: readonly string[]
}

const argsOf = ({ project, diff, out, command, more = [] }: Build): string[] => [
  ...['build', '--source', join(projects, project), '--diff', join(projects, project, diff), '-o', join(place, out)],
  ...['--work', join(place, `work-${out.replace(/\W/g, '-')}`), ...more],
  ...['--', ...command],
]
const built = (build: Build): Promise<Document> => json(...argsOf(build))

const names = (document: Document): string[] => document.result.report.functions.map(({ name }: { name: string }) => name).sort()

describe('make, gcc', () => {
  const common = { project: 'make', command: ['make', '-j2'] }

  test('one image concerned: the program, through an archive; lines that moved are no change', async () => {
    const document = await built({ ...common, diff: 'text.patch', out: 'server.so' })
    expect(document).toMatchObject({ outcome: 'built', exit: 0 })
    expect(names(document)).toEqual(['shortened'])
    expect(document.result.report.base.name).toBe('server')
    expect(document.result.report.functions[0].file).toBe('libtext.a(text.o)')
    expect(document.result.report.diff.counts.linesMoved).toBe(1)
  })

  test('a live process takes the patch, and gives it back', async () => {
    const document = await built({ ...common, diff: 'text.patch', out: 'live.so' })
    const server = start(join(document.result.work, 'before/images/server'))
    try {
      const live = (verb: string, ...args: string[]) => json(verb, '--pid', `${server.pid}`, ...args)
      await server.until(/^32 \d+$/)
      expect(await live('apply', '--allow-unsigned', document.result.file)).toMatchObject({ outcome: 'applied' })
      await server.until(/^31 \d+$/)
      expect(await live('rollback')).toMatchObject({ outcome: 'rolled-back' })
      await server.until(/^32 \d+$/)
    } finally {
      server.stop()
    }
  })

  test('two images concerned: a folder gets a patch for each', async () => {
    const document = await built({ ...common, diff: 'both.patch', out: 'both/' })
    expect(document).toMatchObject({ outcome: 'built', exit: 0 })
    const all = [document.result, ...document.result.others]
    expect(all.map(({ report }) => report.base.name)).toEqual(['libcount.so', 'server'])
    expect(readdirSync(join(place, 'both')).sort()).toEqual(['libcount.hotpatch.so', 'server.hotpatch.so'])
  })

  test('two images concerned, and one file: not guessed', async () => {
    const document = await built({ ...common, diff: 'both.patch', out: 'unclear.so' })
    expect(document).toMatchObject({ outcome: 'error', exit: 6, error: { code: 'IMAGE_UNCLEAR' } })
    expect(document.error.detail).toContain('libcount.so, server')
  })

  test('--base names one of them; an object of one made straight from its source is found as well', async () => {
    const document = await built({ ...common, diff: 'both.patch', out: 'count.so', more: ['--base', 'libcount.so'] })
    expect(names(document)).toEqual(['count'])
  })

  test('--base is the file that was shipped, built by the same commands in another place', async () => {
    const shipped = join(place, 'shipped')
    cpSync(join(place, 'work-server-so/before/images/server'), join(shipped, 'server'))
    const document = await built({ ...common, diff: 'both.patch', out: 'shipped.so', more: ['--base', join(shipped, 'server')] })
    expect(names(document)).toEqual(['shortened'])
  })

  test('both images shipped stripped, each with a debug file: patches for both, which a live process takes in one stop', async () => {
    const folder = join(place, 'stripped')
    const images = ['server', 'libcount.so'].map((name) => join(folder, name))
    for (const image of images) {
      cpSync(join(place, 'work-both-/before/images', basename(image)), image)
      await mustRun('objcopy', ['--only-keep-debug', image, `${image}.debug`])
      await mustRun('strip', [image])
    }
    const more = images.flatMap((image) => ['--base', image, '--symbols', `${image}.debug`])
    const document = await built({ ...common, diff: 'both.patch', out: 'of-stripped/', more })
    expect(document).toMatchObject({ outcome: 'built', exit: 0 })
    const all = [document.result, ...document.result.others]
    expect(
      all.map(({ report }) => [report.base.name, report.base.symbols, report.functions.map(({ found }: { found: string }) => found)]),
    ).toEqual(images.map((image) => [basename(image), `${image}.debug`, ['symbol']]))
    const server = start(images[0] as string)
    try {
      const live = (verb: string, ...args: string[]) => json(verb, '--pid', `${server.pid}`, ...args)
      await server.until(/^32 \d+$/)
      const applied = await live('apply', '--allow-unsigned', ...all.map(({ file }) => file))
      expect(applied).toMatchObject({ outcome: 'applied', exit: 0 })
      expect(applied.result.patches[0].stop).toEqual(applied.result.patches[1].stop)
      await server.until(/^31 \d+$/)
      expect(await live('rollback', ...all.flatMap(({ report }) => ['--id', report.id]))).toMatchObject({ outcome: 'rolled-back', exit: 0 })
      await server.until(/^32 \d+$/)
    } finally {
      server.stop()
    }
  })

  test('a debug file that is of neither image is refused, and nothing is written', async () => {
    const more = ['--base', 'server', '--base', 'libcount.so', '--symbols', join(place, 'work-both-/before/images/tool')]
    const document = await built({ ...common, diff: 'both.patch', out: 'of-none/', more })
    expect(document).toMatchObject({ outcome: 'error', exit: 6, error: { code: 'SYMBOLS_MISMATCH' } })
    expect(existsSync(join(place, 'of-none'))).toBe(false)
  })

  test('a comment: nothing to patch', async () => {
    const document = await built({ ...common, diff: 'comment.patch', out: 'nothing.so' })
    expect(document).toMatchObject({ outcome: 'nothing-to-patch', exit: 0 })
    expect(document.result.report.diff.counts.linesMoved).toBe(1)
  })

  test('a build that fails shows the compiler’s words', async () => {
    const document = await built({ ...common, diff: 'broken.patch', out: 'failed.so' })
    expect(document).toMatchObject({ outcome: 'error', exit: 6, error: { code: 'BUILD_FAILED', facts: { build: 'after' } } })
    expect(document.error.detail).toMatch(/count\.c:\d+:\d+: error: expected/)
  })

  test('a fix of another tree shows what patch says', async () => {
    const document = await built({ ...common, diff: '../cmake/fix.patch', out: 'rejected.so' })
    expect(document).toMatchObject({ outcome: 'error', exit: 6, error: { code: 'DIFF_REJECTED' } })
    expect(document.error.detail).toContain('parts.cc')
  })

  test('compilers called by their whole path are not seen', async () => {
    const command = ['make', 'CC=/usr/bin/gcc']
    expect(await built({ ...common, diff: 'text.patch', out: 'unseen.so', command })).toMatchObject({
      exit: 6,
      error: { code: 'BUILD_UNSEEN' },
    })
  })

  test('progress is told, and the source tree stays as it is', async () => {
    const before = fingerprint(join(projects, 'make'))
    const ran = await hotpatchHere(argsOf({ ...common, diff: 'text.patch', out: 'told.so' }))
    expect(ran.status).toBe(0)
    for (const step of ['copying', 'building before the fix: make -j2', 'applying', 'building after the fix'])
      expect(ran.stderr).toContain(step)
    expect(ran.stdout).toContain('Only line numbers moved in 1 function, which no patch needs: whole.')
    expect(fingerprint(join(projects, 'make'))).toBe(before)
  })

  test('a folder that hotpatch has not made is not emptied', async () => {
    const work = join(place, 'shipped')
    const document = await json(
      ...['build', '--source', join(projects, 'make'), '--diff', join(projects, 'make/text.patch'), '-o', join(place, 'x.so')],
      ...['--work', work, '--', 'make'],
    )
    expect(document).toMatchObject({ exit: 6, error: { code: 'FILE_UNWRITABLE' } })
    expect(readdirSync(work)).toEqual(['server'])
  })
})

test.each([
  ['clang-19', 'clang++-19'],
  ['gcc', 'g++'],
])('cmake, ninja, C++, %s', async (cc, cxx) => {
  const configure = `cmake -B build -G Ninja -DCMAKE_C_COMPILER=${cc} -DCMAKE_CXX_COMPILER=${cxx}`
  const document = await built({
    project: 'cmake',
    diff: 'fix.patch',
    out: `app-${cc}.so`,
    command: ['sh', '-c', `${configure} && ninja -C build`],
  })
  expect(document).toMatchObject({ outcome: 'built', exit: 0 })
  expect(document.result.report.base.name).toBe('app')
  // -DNDEBUG of a release: `checked` is inlined into it.
  expect(names(document)).toEqual(['part'])
})

test.each([
  ['gcc', 'cc', 'program', 'so'],
  ['clang-19', 'clang-19', 'program', 'so'],
  ['mingw', 'x86_64-w64-mingw32-gcc', 'program.exe', 'dll'],
])('a configure script that asks the compiler questions, %s', async (toolchain, cc, image, ending) => {
  const document = await built({
    project: 'configure',
    diff: 'fix.patch',
    out: `${toolchain}.${ending}`,
    command: ['sh', '-c', `CC=${cc} CFLAGS='-O2 -Werror' ./configure && make CFLAGS='-O2 -Werror'`],
  })
  expect(document).toMatchObject({ outcome: 'built', exit: 0 })
  expect(document.result.report.base.name).toBe(image)
  expect(names(document)).toEqual(['check'])
  expect(document.result.report.diff.counts.linesMoved).toBe(1)
})

test('CC in the environment as a whole path is led to the stand-in', async () => {
  const [before, after] = [process.env.CC, '/usr/bin/clang-19']
  process.env.CC = after
  try {
    const command = ['sh', '-c', 'make CC="$CC"']
    expect(await built({ project: 'make', diff: 'text.patch', out: 'cc.so', command })).toMatchObject({ outcome: 'built' })
  } finally {
    if (before === undefined) delete process.env.CC
    else process.env.CC = before
  }
})

test.each([
  ['no command', ['--source', '.', '--diff', 'x.patch', '-o', 'x.so']],
  ['no diff', ['--source', '.', '-o', 'x.so', '--', 'make']],
  ['a command without a source', ['--before', 'a', '--after', 'b', '--base', 'c', '-o', 'x.so', '--', 'make']],
  ['builds and a source', ['--source', '.', '--diff', 'x.patch', '--before', 'a', '-o', 'x.so', '--', 'make']],
])('usage: %s', async (_name, args) => {
  expect(await json('build', ...args)).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
})

function fingerprint(folder: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(folder).sort()) hash.update(`${name}\0`).update(readFileSync(join(folder, name)))
  return hash.digest('hex')
}

interface Started {
  readonly pid: number
  /** Waits for a line that comes from now on. */
  until(line: RegExp): Promise<void>
  stop(): void
}

const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

function start(program: string): Started {
  const child = spawn(program, [], { cwd: dirname(program), stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  return {
    pid: child.pid as number,
    async until(line) {
      output = ''
      for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50))
        if (
          output
            .split('\n')
            .slice(1, -1)
            .some((text) => line.test(text))
        )
          return
      throw new Error(`no line ${line} came, but ${output.slice(-200)}`)
    },
    stop: () => void child.kill('SIGKILL'),
  }
}
