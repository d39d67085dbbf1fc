/** Reads what the test programs in the machine print: `@suite NAME`, `@result JSON` for each test, `@done` at its end, which is missing where its program died; anything else is shown. */
import pc from 'picocolors'

export interface TestResult {
  readonly name: string
  readonly status: 'passed' | 'failed' | 'skipped'
  /** Of what failed: the error. Of what was skipped: why. */
  readonly why?: string
  readonly milliseconds: number
}

export interface SuiteRun {
  readonly name: string
  readonly results: ReadonlyMap<string, TestResult>
  /** Tests that there must be and that have no result, and whether the suite came to its end. */
  readonly missing: readonly string[]
  readonly ended: boolean
}

const SUITE = /^@suite (.*)$/
const RESULT = /^@result (\{.*\})$/
const DONE = '@done'

interface Printed {
  readonly name: string
  readonly status?: TestResult['status']
  readonly why?: string
  /** In the conformance suite's results. */
  readonly error?: string
  readonly milliseconds: number
}

export class ResultReader {
  readonly #show: (line: TestResult | string) => void
  readonly #results = new Map<string, Map<string, TestResult>>()
  readonly #ended = new Set<string>()
  #current = ''

  constructor(show: (line: TestResult | string) => void) {
    this.#show = show
  }

  read(line: string): void {
    const suite = SUITE.exec(line)?.[1]
    const printed = RESULT.exec(line)?.[1]
    if (suite !== undefined) {
      this.#current = suite
      this.#results.set(suite, new Map())
      this.#show(pc.bold(suite))
    } else if (printed !== undefined) {
      const result = resultOf(JSON.parse(printed))
      this.#results.get(this.#current)?.set(result.name, result)
      this.#show(result)
    } else if (line === DONE) this.#ended.add(this.#current)
    else this.#show(pc.dim(line))
  }

  /** What is known of a suite. `tests`: those that there must be, where that is known. */
  suite({ name, tests = [] }: { readonly name: string; readonly tests?: readonly string[] }): SuiteRun {
    const results = this.#results.get(name) ?? new Map<string, TestResult>()
    return { name, results, missing: tests.filter((test) => !results.has(test)), ended: this.#ended.has(name) }
  }
}

function resultOf({ name, status, why, error, milliseconds }: Printed): TestResult {
  const reason = why ?? error
  return {
    name,
    status: status ?? (error === undefined ? 'passed' : 'failed'),
    ...(reason === undefined ? {} : { why: reason }),
    milliseconds,
  }
}
