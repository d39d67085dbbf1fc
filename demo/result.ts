/** The table at the end of the demo. */
import pc from 'picocolors'
import { type Cell, number, say, table } from '../tools/paper.ts'
import type { Row } from './story.ts'
import type { Hole } from './subject.ts'

const COLUMNS = [
  { title: '', align: 'left' },
  { title: 'requests answered', align: 'right' },
  { title: 'failed', align: 'right' },
  { title: 'connections dropped', align: 'right' },
  { title: 'slowest answer', align: 'right' },
  { title: 'stop', align: 'right' },
  { title: 'hole', align: 'left' },
] as const

export function printResult(title: string, rows: readonly Row[]): void {
  say(`  ${pc.bold(title)}\n`)
  for (const line of table(COLUMNS, [...rows.map(cells), totals(rows)])) say(line)
  say()
}

const cells = ({ phase, hole, stop }: Row): Cell[] => [
  { plain: phase.name },
  { plain: number(phase.answered) },
  mustBeZero(phase.failed),
  mustBeZero(phase.dropped),
  { plain: `${phase.slowest.toFixed(1)} ms`, paint: pc.dim },
  { plain: stop === undefined ? '' : `${number(stop)} µs`, paint: pc.cyan },
  { plain: hole ?? '', paint: HOLE_PAINT[hole ?? 'mixed'] },
]

const HOLE_PAINT: Readonly<Record<Hole, (text: string) => string>> = { open: pc.red, closed: pc.green, mixed: pc.magenta }

const mustBeZero = (count: number): Cell => ({ plain: number(count), paint: count === 0 ? pc.green : pc.red })

function totals(rows: readonly Row[]): Cell[] {
  const sum = (count: (row: Row) => number) => rows.reduce((total, row) => total + count(row), 0)
  return [
    { plain: 'all', paint: pc.bold },
    { plain: number(sum(({ phase }) => phase.answered)), paint: pc.bold },
    mustBeZero(sum(({ phase }) => phase.failed)),
    mustBeZero(sum(({ phase }) => phase.dropped)),
    { plain: '' },
    { plain: '' },
    { plain: '' },
  ]
}
