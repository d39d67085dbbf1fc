/** Walks of stacks of every kind, held against gdb; and at every single instruction, against the calls and returns that were seen. */
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { FrameModules } from '../../src/engine/stacks/frame-modules.ts'
import type { Process } from '../../src/process/contract.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { parseStat, readProc } from '../../src/process/linux/proc.ts'
import { gdbFrames, hasGdb } from './gdb.ts'
import { stepThrough } from './stepping.ts'
import { compile, endTargets, type Started, startApart, until } from './targets.ts'
import { type Walk, walkAll } from './walking.ts'

afterAll(endTargets)

const onLinux = process.platform === 'linux'
const LAZY = ['-Wl,-z,lazy', new URL('../targets/stacks.S', import.meta.url).pathname]

/** `jmp *slot`, `push number`, `jmp PLT0`, and the two of PLT0. */
const isPltStub = (code: string): boolean => /^(f30f1efa)?(f2)?ff25|^68|^e9|^ff35/.test(code)

const FLAVOURS = [
  { title: 'gcc', name: 'stacks-gcc', options: LAZY, described: true },
  {
    title: 'gcc, frame pointers, CET, fixed address',
    name: 'stacks-fixed',
    options: [...LAZY, '-no-pie', '-fno-omit-frame-pointer', '-fcf-protection=full'],
    described: true,
  },
  { title: 'clang and lld', name: 'stacks-clang', options: [...LAZY, '-fuse-ld=lld'], compiler: 'clang-19' },
  { title: 'a static program', name: 'stacks-static', options: [...LAZY, '-static'] },
]

let started: Started
let target: Process
afterEach(async () => {
  target.close()
  await started.kill()
})

async function start(flavour: (typeof FLAVOURS)[number], ...args: string[]): Promise<Record<string, string>> {
  started = await startApart(compile('stacks.c', flavour.name, flavour.options, flavour.compiler), args)
  await until('it printed what it is', () => started.output().endsWith('\n'))
  target = linuxBackend.open(started.pid)
  return JSON.parse(started.output())
}

const modulesOf = (process: Process) => new FrameModules(process).of(process.regions())

/** All its threads, kept still for two who want to look at them. */
async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await until('all threads stand still', () =>
    target.threads().every(({ id }) => /[tT]/.test(parseStat(readProc(`/proc/${pid}/task/${id}/stat`) ?? '')?.state ?? '')),
  )
}

describe.skipIf(!onLinux || !hasGdb()).each(FLAVOURS)('stacks as gdb sees them: $title', (flavour) => {
  test('every thread, frame by frame, several times', async () => {
    await start(flavour)
    for (let round = 0; round < 3; round++) {
      await freeze(started.pid)
      const walks = walkAll(target, modulesOf(target), round === 1 ? 256 : 8192)
      const theirs = gdbFrames(started.pid)
      expect(walks.map(({ threadId }) => threadId).sort()).toEqual([...theirs.keys()].sort())
      const lost: Walk[] = []
      for (const walk of walks) {
        const expected = (theirs.get(walk.threadId) ?? []).map(String)
        const ours = walk.frames.map(String)
        if (walk.end === 'lost') {
          lost.push(walk)
          // Up to there both agree; from there on gdb guesses.
          expect(ours).toEqual(expected.slice(0, ours.length))
        } else expect(ours).toEqual(expected)
      }
      expect(lost.length).toBe(1)
      expect(walks.some(({ frames }) => frames.length > 3000)).toBe(true)
      process.kill(started.pid, 'SIGCONT')
    }
  })
})

describe.skipIf(!onLinux).each(FLAVOURS)('stacks at every instruction: $title', (flavour) => {
  test('calls, returns, prologues, epilogues, PLT stubs, the dynamic linker, signals, the vDSO', async () => {
    const { go = '0', done = '0' } = await start(flavour, 'step')
    const { steps, calls, signals, lost, wrong } = stepThrough(target, modulesOf(target), BigInt(go), BigInt(done))
    expect(wrong).toEqual([])
    // Of PLT stubs that lld makes, or ld for static programs, nobody describes anything: those walks end in a search.
    expect(lost.filter(({ code }) => !isPltStub(code)).slice(0, 10)).toEqual([])
    if (flavour.described) expect(lost).toEqual([])
    expect(signals).toBe(2)
    expect(calls).toBeGreaterThan(100)
    expect(steps).toBeGreaterThan(4000)
  })
})
