/** The suite by a plain program, where no test runner runs: inside Windows' Node, inside an emulated machine. */
import type { ConformanceCase } from './case.ts'
import { runCase } from './conformance.ts'
import type { ConformanceHost } from './target.ts'

export interface CaseResult {
  readonly name: string
  readonly error?: string
  readonly milliseconds: number
}

/** Runs those whose name contains `only`, one after the other, and tells of each as it ends. */
export async function runCases(
  cases: readonly ConformanceCase[],
  host: ConformanceHost,
  only: string,
  tell: (result: CaseResult) => void,
): Promise<void> {
  for (const conformanceCase of cases) {
    if (!conformanceCase.name.includes(only)) continue
    const began = performance.now()
    const thrown = await runCase(conformanceCase, host).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
    )
    const milliseconds = Math.round(performance.now() - began)
    tell({ name: conformanceCase.name, ...(thrown === undefined ? {} : { error: thrown }), milliseconds })
  }
}
