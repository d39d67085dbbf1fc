/** A reporter for vitest: why each skipped test was skipped, which the JSON report leaves out. */
import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/** The variable that names the file to write. */
export const SKIPS = 'HOTPATCH_SKIPS'

/** What is written: by file, then by full name. A test that a condition of its suite has skipped has no reason of its own. */
export type Skips = Readonly<Record<string, Readonly<Record<string, string>>>>

export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const file = process.env[SKIPS]
    if (file === undefined) return
    const all: Record<string, Record<string, string>> = {}
    for (const module of modules)
      for (const test of module.children.allTests('skipped')) {
        const result = test.result()
        const why = result.state === 'skipped' ? result.note : undefined
        const skips = all[module.moduleId] ?? {}
        all[module.moduleId] = skips
        skips[test.fullName] = why ?? ''
      }
    writeFileSync(file, `${JSON.stringify(all)}\n`)
  }
}
