/**
 * Everything that must hold before a change is good:
 *
 *   npm test                    all of it
 *   npm test -- lint unit       some of it: lint types layers dead-code unit live
 *
 * Exit code 0 when all is well. The product was compiled and the machine set up by tools/setup.mjs before.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import pc from 'picocolors'
import { clone } from './places.ts'
import { type Counts, reports, runVitest, shown } from './vitest.ts'

interface Outcome {
  readonly good: boolean
  /** Undefined for what is no test run. */
  readonly counts?: Counts
}

const bin = (name: string) => join(clone, 'node_modules/.bin', name)

const checked =
  (name: string, ...args: string[]) =>
  async (): Promise<Outcome> => ({ good: (await shown(bin(name), args)) === 0 })

const tested = (project: string) => async (): Promise<Outcome> => {
  const { good, ...counts } = await runVitest(process.execPath, project, project)
  return { good, counts }
}

const STEPS: Readonly<Record<string, () => Promise<Outcome>>> = {
  lint: checked('biome', 'check', '--error-on-warnings', '.'),
  types: checked('tsc', '--noEmit'),
  layers: checked('depcruise', 'src', '--config', '.dependency-cruiser.cjs'),
  'dead-code': checked('knip'),
  unit: tested('unit'),
  live: tested('live'),
}

process.exitCode = await main(process.argv.slice(2))

async function main(wanted: readonly string[]): Promise<number> {
  const unknown = wanted.find((name) => !Object.hasOwn(STEPS, name))
  if (unknown !== undefined) {
    process.stderr.write(`there is no step "${unknown}": ${Object.keys(STEPS).join(' ')}\n`)
    return 2
  }
  rmSync(reports, { recursive: true, force: true })
  const lines: string[] = []
  let good = true
  for (const [name, step] of Object.entries(STEPS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    process.stdout.write(`\n${pc.bold(pc.inverse(` ${name} `))}\n`)
    const began = performance.now()
    const outcome = await step()
    good &&= outcome.good
    lines.push(summary(name, outcome, (performance.now() - began) / 1000))
  }
  process.stdout.write(`\n${lines.join('\n')}\n`)
  return good ? 0 : 1
}

function summary(name: string, { good, counts }: Outcome, seconds: number): string {
  const mark = good ? pc.green('✔') : pc.red('✘')
  const numbers = counts === undefined ? '' : `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`
  return `${mark} ${name.padEnd(10)} ${`${seconds.toFixed(1)} s`.padStart(8)}  ${numbers}`
}
