/** Cases inside Windows' Node, one after the other: a line of JSON for each as it ends, as the conformance suite writes them. */
import { appendFileSync } from 'node:fs'

interface Named {
  readonly name: string
}

/** Runs those whose name contains `only`. */
export async function tellCases<C extends Named>(
  cases: readonly C[],
  only: string,
  results: string,
  run: (one: C) => Promise<void>,
): Promise<void> {
  for (const one of cases) {
    if (!one.name.includes(only)) continue
    const began = performance.now()
    const error = await run(one).then(
      () => undefined,
      (thrown: unknown) => (thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)),
    )
    const milliseconds = Math.round(performance.now() - began)
    appendFileSync(results, `${JSON.stringify({ name: one.name, ...(error === undefined ? {} : { error }), milliseconds })}\n`)
  }
}
