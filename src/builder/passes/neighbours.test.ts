/** Two base images of one update: what lies in the other is reached as any other module is, and what is new there is refused. */
import { describe, expect, it } from 'vitest'
import { planFor } from '../build-plan.ts'
import { difference } from '../diff.ts'
import type { LinkGraph } from '../graph.ts'
import { NO_LIBRARIES } from '../libraries.ts'
import { refuses } from '../reasons.ts'
import { importsOf } from '../tables.ts'
import { type BlockSpec, CALL, code, FIELD32, moveImmediate, object, program } from '../testing/graphs.ts'
import { link } from '../testing/link.ts'
import { locator } from './locate.ts'
import { neighboursOf } from './neighbours.ts'
import { sharedState } from './shared-state.ts'

const as = (path: string, blocks: readonly BlockSpec[]): LinkGraph => object({ path, blocks })
const returns = (name: string, value: number): BlockSpec => code(name, moveImmediate(value))
const calls = (name: string, value: number, to: string): BlockSpec =>
  code(name, [...moveImmediate(value), ...CALL], [{ at: 6, kind: 'branch32', to }])
// mov disp32(%rip), %eax
const reads = (name: string, value: number, of: string): BlockSpec =>
  code(name, [...moveImmediate(value), 0x8b, 0x05, ...FIELD32], [{ at: 7, kind: 'pcrel32', to: of }])

interface Image {
  readonly name: string
  readonly objects: readonly LinkGraph[]
  readonly imports?: readonly string[]
}

/** Plans of all images, by name, and what several of them bring. */
function update(images: readonly Image[], before: readonly LinkGraph[], after: readonly LinkGraph[]) {
  const builds = program([...before], [...after])
  const found = difference(builds)
  const places = images.map(({ name, objects, imports = [] }) =>
    locator(link([...objects], { name, imports: Object.fromEntries(imports.map((i) => [i, 'eager' as const])) })),
  )
  const planned = places.map((here) => {
    const neighbours = neighboursOf(
      here,
      places.filter((other) => other !== here),
    )
    const naming = { sequence: 1, id: here.base.name, description: '', cves: [] }
    return { places: here, ...planFor(builds, found, { places: here, naming, libraries: NO_LIBRARIES, neighbours }) }
  })
  const refusals = Object.fromEntries(
    planned.map(({ places: { base }, reasons }) => [base.name, reasons.filter(refuses).map((r) => `${r.code} ${r.symbol}`)]),
  )
  const plans = planned.flatMap(({ planned: { plan } }) => plan ?? [])
  const patched = Object.fromEntries(plans.map(({ base, functions }) => [base.name, functions.map(({ name }) => name)]))
  return { refusals, patched, plans, shared: sharedState(builds, planned).map(({ reason: r }) => `${r.code} ${r.symbol}`) }
}

const NONE = { lib: [], app: [] }

describe('a program and its library in one update', () => {
  const lib = (value: number) => as('lib.o', [returns('parse', value), returns('weigh', 3)])
  const app = (value: number, to: string) => as('app.o', [calls('work', value, to)])
  const images: Image[] = [
    { name: 'lib', objects: [lib(1)] },
    { name: 'app', objects: [app(1, 'parse')], imports: ['parse'] },
  ]
  const before = [lib(1), app(1, 'parse')]

  it('each patch has the functions of its own image, and reaches the other by the import slot', () => {
    const { refusals, patched, plans } = update(images, before, [lib(2), app(2, 'parse')])
    expect([refusals, patched]).toEqual([NONE, { lib: ['parse'], app: ['work'] }])
    const plan = plans.find(({ base }) => base.name === 'app')
    expect(plan && importsOf(plan).map(({ name }) => name)).toEqual(['parse'])
    expect(plan?.blocks.map(({ name }) => name)).not.toContain('parse')
  })

  it('is refused where the program needs of the library what it does not import, or what is new there', () => {
    expect(update(images, before, [lib(2), app(2, 'weigh')]).refusals).toEqual({ lib: [], app: ['IMPORT_NEW work'] })
    const fresh = as('lib.o', [returns('parse', 2), returns('weigh', 3), returns('fresh', 4)])
    expect(update(images, before, [fresh, app(2, 'fresh')]).refusals).toEqual({ lib: [], app: ['NEW_IN_ANOTHER_IMAGE work'] })
  })
})

describe('a new variable that several patches would bring', () => {
  const count: BlockSpec = { name: 'count', kind: 'bss', content: 4 }
  const pair: Image[] = ['one', 'two'].map((name) => ({ name, objects: [as(`${name}.o`, [returns(`of_${name}`, 1)])] }))

  it('is refused where no object of before tells whose it is', () => {
    const before = pair.flatMap(({ objects }) => objects)
    const after = ['one', 'two'].map((name) => as(`${name}.o`, [reads(`of_${name}`, 2, 'count')]))
    const { refusals, shared } = update(pair, before, [...after, as('new.o', [count])])
    expect([refusals, shared]).toEqual([{ one: [], two: [] }, ['STATE_OF_SEVERAL count']])
  })

  it('is each one’s own where it comes with an object that stands in both', () => {
    const common = (blocks: readonly BlockSpec[]) => as('common.a(c.o)', blocks)
    const old = common([returns('shared', 1)])
    const images = pair.map(({ name, objects }) => ({ name, objects: [...objects, old] }))
    const owns = pair.flatMap(({ objects }) => objects)
    const { refusals, patched, shared } = update(images, [...owns, old], [...owns, common([reads('shared', 2, 'count'), count])])
    expect([refusals, patched, shared]).toEqual([{ one: [], two: [] }, { one: ['shared'], two: ['shared'] }, []])
  })
})
