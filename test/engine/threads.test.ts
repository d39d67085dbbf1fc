/**
 * Functions that use thread-local variables are patched while threads count in them, and patches bring variables of their own: every thread goes on from
 * its own values, there and back, and through a patch that takes another's place. Threads that come later begin with the initial values.
 */
import { rmSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { applyPatch, checkPatch, rollbackPatch, verifyProcess } from '../../src/engine/index.ts'
import { readPatchImage } from '../../src/patch/read.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { PATIENT, SLOWLY } from '../brought.ts'
import { endTargets, type Started, startApart, until, untilFree } from '../process/targets.ts'
import { buildThreads, expectedLines, haveAll, linesOf, MAKES } from './threads.ts'

afterAll(endTargets)

const HERE = MAKES[process.arch === 'arm64' ? 'elf-arm64' : 'elf']

describe.skipIf(process.platform !== 'linux')('thread-local data', () => {
  const toEnd: (() => Promise<void> | void)[] = []
  afterEach(async () => {
    for (const end of toEnd.splice(0).reverse()) await end()
  })

  /** @param from where in its output the search begins; the result is where it ended */
  async function lines(started: Started, version: string, from: number): Promise<number> {
    await until(`every thread has written a "${version}" line`, () => haveAll(linesOf(started.output().slice(from)), version))
    return started.output().lastIndexOf('\n') + 1
  }

  test.each(HERE)('$title ($compiler.0)', async (make) => {
    const { folder, program, patch } = buildThreads(make)
    toEnd.push(() => rmSync(folder, { recursive: true, force: true }))
    const started = await startApart(program, SLOWLY)
    toEnd.push(() => started.kill())
    // Before, it may be a shell still that is about to become the program.
    let from = await lines(started, 'old', 0)
    const target = linuxBackend.open(started.pid)
    toEnd.push(() => target.close())
    const [first, second] = [readPatchImage(patch('after')), readPatchImage(patch('later'))]
    expect(first.threadLocal !== undefined).toBe(make.fresh)

    expect(checkPatch(target, first).outcome).toBe('would-apply')
    expect((await applyPatch(target, first, PATIENT)).outcome).toBe('applied')
    from = await lines(started, 'new', from)
    const superseded = await applyPatch(target, second, PATIENT)
    expect(superseded.superseded?.kept.toSorted()).toEqual(make.fresh ? ['counter_fresh', 'late'] : [])
    from = await lines(started, 'later', from)
    expect(verifyProcess(target).outcome).toBe('verified')
    expect((await rollbackPatch(target, PATIENT)).outcome).toBe('rolled-back')
    from = await lines(started, 'old', from)
    // Its variables begin anew.
    expect((await applyPatch(target, first, PATIENT)).outcome).toBe('applied')
    await lines(started, 'new', from)
    await untilFree(started.pid)
    const all = linesOf(started.output())
    expect(all).toEqual(expectedLines(all, make.fresh))
  })
})
