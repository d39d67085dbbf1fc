/** Changed functions that call indirect functions (STT_GNU_IFUNC): of their own program and, where that is static, of the C library in it. */
import { rmSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { applyPatch, rollbackPatch, verifyProcess } from '../../src/engine/index.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { PATIENT } from '../brought.ts'
import { endTargets, startApart, until } from '../process/targets.ts'
import { flavoursHere } from './flavours.ts'
import { buildPair } from './pair.ts'

afterAll(endTargets)

const [OLD, FIXED] = [115, 1115]

describe.skipIf(process.platform !== 'linux')('indirect functions', () => {
  const toEnd: (() => Promise<void> | void)[] = []
  afterEach(async () => {
    for (const end of toEnd.splice(0).reverse()) await end()
  })

  test.each(flavoursHere('indirect'))('$compiler $flags', async ({ compiler, flags }) => {
    const { folder, program, patch } = buildPair({ sources: 'indirect', files: ['main.c', 'work.c', 'shared.c'], compiler, flags })
    toEnd.push(() => rmSync(folder, { recursive: true, force: true }))
    const started = await startApart(program)
    toEnd.push(() => started.kill())
    const answers = (): number[] => started.output().split('\n').slice(0, -1).map(Number)
    const gives = async (answer: number): Promise<void> => {
      const from = answers().length
      await until(`it answers ${answer}`, () => answers().slice(from).includes(answer))
    }

    // Before, it may be a shell still that is about to become the program.
    await gives(OLD)
    const target = linuxBackend.open(started.pid)
    toEnd.push(() => target.close())
    expect((await applyPatch(target, patch(), PATIENT)).outcome).toBe('applied')
    await gives(FIXED)
    expect(verifyProcess(target).outcome).toBe('verified')
    expect((await rollbackPatch(target, PATIENT)).outcome).toBe('rolled-back')
    await gives(OLD)
    expect(answers().filter((answer) => answer !== OLD && answer !== FIXED)).toEqual([])
  })
})
