/** What the engine does to a live process of Windows on ARM64 whose threads call the functions that change: test/engine/busy-pe, as cases for run-cases.ts. */
import assert from 'node:assert/strict'
import { applyPatch, rollbackPatch, statusOf, verifyProcess } from '../../src/engine/index.ts'
import { HotpatchError } from '../../src/errors.ts'
import type { PatchImage } from '../../src/patch/image.ts'
import { BUSY_FUNCTIONS, type BusyProgram, THREADS } from './busy-program.ts'

/** Of each kind two, of which the second contains the first. */
export interface Fixes {
  readonly plain: readonly [PatchImage, PatchImage]
  /** They bring a thread-local variable. */
  readonly threads: readonly [PatchImage, PatchImage]
}

export interface EngineCase {
  readonly name: string
  run(program: BusyProgram, fixes: Fixes): Promise<void>
}

/** Emulated, every try to meet a safe moment takes long. */
const PATIENT = { timeoutMs: 300_000 }

async function busy(action: Promise<unknown>): Promise<{ function: string; depth: number; found: string }[]> {
  const thrown = await action.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof HotpatchError, `it was not refused, but ${String(thrown)}`)
  assert.equal(thrown.code, 'BUSY')
  return (thrown.facts as { threads: { function: string; depth: number; found: string }[] }).threads
}

export const ENGINE_CASES: readonly EngineCase[] = [
  {
    name: 'under load: applied, verified, superseded, taken back step by step, and every call had one result',
    async run(program, { plain: [first, second] }) {
      const { process: target } = program
      const entries = first.manifest.functions.map(({ rva }) => program.base + BigInt(rva))
      const code = () => entries.map((entry) => Buffer.from(target.read(entry, 16)).toString('hex'))
      const original = code()
      await program.grows('old')

      const applied = await applyPatch(target, first, PATIENT)
      assert.equal(applied.outcome, 'applied')
      assert.equal(applied.stop?.consistency, 'patch')
      assert.deepEqual(applied.functions.map(({ name }) => name).sort(), [...BUSY_FUNCTIONS].sort())
      await program.answersOnly('fixed')
      assert.equal(verifyProcess(target).outcome, 'verified')

      const superseding = await applyPatch(target, second, PATIENT)
      assert.equal(superseding.superseded?.id, first.manifest.id)
      await program.answersOnly('again')
      assert.equal(verifyProcess(target).outcome, 'verified')

      assert.equal((await rollbackPatch(target, { ...PATIENT, to: first.manifest.sequence })).to?.id, first.manifest.id)
      await program.answersOnly('fixed')
      await rollbackPatch(target, PATIENT)
      await program.answersOnly('old')
      assert.deepEqual(code(), original)
      assert.ok(statusOf(target).patches.every(({ recovery }) => recovery === 'none'))
      assert.equal(program.get('bad'), 0)
    },
  },
  {
    name: 'a thread-local variable that a fix brings is of each thread its own, begins with its value, keeps it when superseded, and begins anew',
    async run({ process: target, answersOnly, get }, { threads: [first, second] }) {
      assert.ok(first.threadLocal !== undefined)
      const dlls = () => target.modules().filter(({ name }) => name.startsWith('hotpatch-thread-local-'))
      for (let round = 0; round < 2; round++) {
        assert.equal((await applyPatch(target, first, PATIENT)).outcome, 'applied')
        await answersOnly('fixed')
        const made = dlls().length
        const superseding = await applyPatch(target, second, PATIENT)
        assert.deepEqual(superseding.superseded?.kept, ['own'])
        assert.equal(dlls().length, made)
        await answersOnly('again')
        assert.equal(verifyProcess(target).outcome, 'verified')
        await rollbackPatch(target, PATIENT)
        await answersOnly('old')
      }
      assert.equal(get('bad'), 0)
    },
  },
  ...BUSY_FUNCTIONS.map(
    (name): EngineCase => ({
      name: `threads that sleep in ${name}: refused, each named with function and depth`,
      async run(program, { plain: [fix] }) {
        await program.stayIn(name)
        const threads = await busy(applyPatch(program.process, fix, { timeoutMs: 1500 }))
        assert.deepEqual(
          threads.map((thread) => thread.function),
          Array.from({ length: THREADS }, () => name),
        )
        for (const { depth } of threads) assert.ok(depth >= 2, `found at depth ${depth}`)
        // What Wine does on the way from an exception to its handler is not described in all its versions.
        if (name !== 'faults') for (const { found } of threads) assert.equal(found, 'unwinding')
      },
    }),
  ),
  {
    name: 'threads that are inside more often than not are followed until each is out, and let go together, there and back',
    async run(program, { plain: [fix] }) {
      program.set('out_ms', 100)
      program.set('in_ms', 300)
      const how = { ...PATIENT, waitForReturn: true }
      const applied = await applyPatch(program.process, fix, how)
      assert.equal(applied.outcome, 'applied')
      await program.answersOnly('fixed')
      assert.equal((await rollbackPatch(program.process, how)).outcome, 'rolled-back')
      await program.answersOnly('old')
      assert.equal(program.get('bad'), 0)
    },
  },
  {
    name: 'threads inside the patch: rolling back is refused unless consistency is not asked for',
    async run(program, { plain: [fix] }) {
      await applyPatch(program.process, fix, PATIENT)
      await program.stayIn('allocates')
      const [thread] = await busy(rollbackPatch(program.process, { timeoutMs: 1000 }))
      assert.equal(thread?.function, 'allocates')
      const undone = await rollbackPatch(program.process, { timeoutMs: 1000, consistency: 'none' })
      assert.equal(undone.outcome, 'rolled-back')
    },
  },
]
