/**
 * The product's speed, measured on this machine and printed beside what was promised.
 *
 *   npm run bench [-- --json] [stop] [stacks] [call] [builder] [scale]
 *
 * Figures depend on the machine and on what else runs there: nothing fails by them.
 */
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pc from 'picocolors'
import { type Cell, heading, say, table } from '../tools/paper.ts'
import { measureBuilder } from './builder.ts'
import { measureCalls } from './call/measure.ts'
import type { Figure } from './figure.ts'
import { measureScale } from './scale/measure.ts'
import { measureStops, STOP_GOAL, STOP_OPTIONS } from './stop.ts'
import { GOAL_THREADS, measureStackStops, STACKS_GOAL } from './stop-stacks.ts'

interface Group {
  readonly title: string
  measure(): readonly Figure[] | Promise<readonly Figure[]>
}

const GROUPS: Readonly<Record<string, Group>> = {
  stop: { title: 'How long a process stands still', measure: stops },
  stacks: { title: 'The same with every stack checked, 20 frames each', measure: stackStops },
  call: { title: 'What a patched call costs', measure: measureCalls },
  builder: { title: 'From process start to exit', measure: measureBuilder },
  scale: { title: 'The same over sets of many objects', measure: measureScale },
}

const COLUMNS = [
  { title: '', align: 'left' },
  { title: 'median', align: 'right' },
  { title: 'at most', align: 'right' },
  { title: 'beside', align: 'left' },
  { title: 'ratio', align: 'right' },
  { title: 'runs', align: 'right' },
] as const

const { values, positionals } = parseArgs({ options: { json: { type: 'boolean', default: false } }, allowPositionals: true })
const wanted = positionals.length > 0 ? positionals : Object.keys(GROUPS)
const results: Record<string, readonly Figure[]> = {}
for (const name of wanted) {
  const group = GROUPS[name]
  if (group === undefined) throw new Error(`there is no group "${name}": ${Object.keys(GROUPS).join(' ')}`)
  results[name] = await group.measure()
  if (values.json) continue
  heading(group.title)
  for (const line of table(COLUMNS, (results[name] ?? []).map(cells))) say(line)
}
const machine = { processor: cpus()[0]?.model, processors: cpus().length, node: process.version }
if (values.json) say(JSON.stringify({ machine, figures: results }, null, 2))
else say(pc.dim(`\n  ${machine.processors} × ${machine.processor}, Node ${machine.node}`))

async function stops(): Promise<Figure[]> {
  const results = await measureStops()
  return results.map(({ threads, floor, hotpatch }) => ({
    name: `one function, ${threads} threads`,
    value: hotpatch,
    unit: 'µs',
    limit: STOP_GOAL * floor,
    beside: { name: 'stop-floor.c', value: floor },
    runs: STOP_OPTIONS.turns * STOP_OPTIONS.stops,
  }))
}

async function stackStops(): Promise<Figure[]> {
  const results = await measureStackStops()
  return results.map(({ threads, floor, hotpatch }) => ({
    name: `one function, ${threads} threads`,
    value: hotpatch,
    unit: 'µs',
    ...(threads <= GOAL_THREADS ? { limit: STACKS_GOAL * floor } : {}),
    beside: { name: 'stop-floor.c', value: floor },
    runs: STOP_OPTIONS.turns * STOP_OPTIONS.stops,
  }))
}

function cells({ name, value, unit, limit, beside, runs }: Figure): Cell[] {
  const good = limit === undefined || value <= limit
  return [
    { plain: name },
    { plain: amount(value, unit), paint: good ? pc.bold : pc.red },
    { plain: limit === undefined ? '' : amount(limit, unit), paint: pc.dim },
    { plain: beside === undefined ? '' : `${beside.name} ${amount(beside.value, unit)}`, paint: pc.dim },
    { plain: beside === undefined ? '' : (value / beside.value).toFixed(2) },
    { plain: `${runs}`, paint: pc.dim },
  ]
}

function amount(value: number, unit: Figure['unit']): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return `${value.toFixed(digits)} ${unit}`
}
