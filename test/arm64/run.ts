/**
 * Runs test files in the ARM64 machine, where there is no vitest:
 *
 *   node run.js SUITE... [--only TEXT]
 *
 * Prints one line for each test as it ends: `@result ` and JSON, see MachineResult.
 */
import type { File, Task, TaskResult, Test, VitestRunner, VitestRunnerConfig } from '@vitest/runner'
import { startTests } from '@vitest/runner'
import { SUITES } from './suites.ts'

export interface MachineResult {
  readonly name: string
  readonly status: 'passed' | 'failed' | 'skipped'
  /** Of what failed: the error. Of what was skipped: why. */
  readonly why?: string
  readonly milliseconds: number
}

const args = process.argv.slice(2)
const at = args.indexOf('--only')
const only = at < 0 ? '' : (args[at + 1] ?? '')
const wanted = at < 0 ? args : args.slice(0, at)

const config: VitestRunnerConfig = {
  root: '/hotpatch',
  setupFiles: [],
  name: '',
  passWithNoTests: true,
  testNamePattern: undefined,
  allowOnly: false,
  sequence: { shuffle: false, concurrent: false, seed: 1, hooks: 'stack', setupFiles: 'list' },
  chaiConfig: undefined,
  maxConcurrency: 1,
  testTimeout: 180_000,
  hookTimeout: 300_000,
  retry: 0,
  includeTaskLocation: false,
  diffOptions: undefined,
  tags: [],
  tagsFilter: undefined,
  strictTags: false,
} as unknown as VitestRunnerConfig

const fullName = (task: Task): string =>
  [...(task.suite === undefined || task.suite === task.file ? [] : [fullName(task.suite)]), task.name].join(' > ')

const tell = (result: MachineResult): void => void process.stdout.write(`@result ${JSON.stringify(result)}\n`)

function told(test: Test): void {
  const { state, errors, duration, ...more }: Partial<TaskResult> = test.result ?? {}
  // The reason that was given to context.skip().
  const note = 'note' in more && typeof more.note === 'string' ? more.note : undefined
  const milliseconds = Math.round(duration ?? 0)
  const name = fullName(test)
  const why = errors?.map((error) => error.stack ?? error.message).join('\n') ?? note
  if (state === 'pass') tell({ name, status: 'passed', milliseconds })
  else if (state === 'fail') tell({ name, status: 'failed', why: why ?? '', milliseconds })
  else tell({ name, status: 'skipped', why: why ?? 'no reason is given', milliseconds })
}

const testsOf = (task: Task): Test[] => (task.type === 'test' ? [task] : task.tasks.flatMap(testsOf))

/** A hook that failed leaves its tests without a result. */
function toldLeft(file: File, done: ReadonlySet<Test>): void {
  const errors = [file, ...file.tasks].flatMap((task) => task.result?.errors ?? []).map((error) => error.stack ?? error.message)
  const left = testsOf(file).filter((test) => !done.has(test))
  for (const test of left)
    if (test.mode === 'skip' || test.mode === 'todo') told(test)
    else tell({ name: fullName(test), status: 'failed', why: errors.join('\n'), milliseconds: 0 })
  if (left.length === 0 && errors.length > 0) tell({ name: '(hooks)', status: 'failed', why: errors.join('\n'), milliseconds: 0 })
}

const unknown = wanted.find((file) => !SUITES.some((suite) => suite.file === file))
if (unknown !== undefined) throw new Error(`${unknown} is not in test/arm64/suites.ts`)

for (const { file, without = [] } of SUITES) {
  if (!wanted.includes(file)) continue
  process.stdout.write(`@suite ${file}\n`)
  const done = new Set<Test>()
  const runner: VitestRunner = {
    config,
    importFile: (path) => import(path),
    onBeforeRunFiles(files) {
      for (const test of files.flatMap(testsOf)) {
        const left = without.find(({ name }) => fullName(test).includes(name))
        if (left !== undefined || !fullName(test).includes(only)) {
          test.mode = 'skip'
          test.result = { state: 'skip', ...(left === undefined ? {} : { note: left.why }) }
        }
      }
    },
    onAfterRunTask(test) {
      if (!fullName(test).includes(only)) return
      done.add(test)
      told(test)
    },
  }
  const [ran] = await startTests([new URL(`../${file}.test.js`, import.meta.url).pathname], runner)
  if (ran !== undefined && only === '') toldLeft(ran, done)
  process.stdout.write('@done\n')
}
process.exit(0)
