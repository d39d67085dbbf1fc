import { describe, expect, test } from 'vitest'
import { type FakeModule, fakeBackend } from '../process/fake/index.ts'
import { applyPatch, checkPatch } from './index.ts'
import { library } from './testing/library.ts'
import { baseModule, newPatch, newTarget, ownRegions, snapshot } from './testing/world.ts'

const PAGE = 0x1000
/** Somebody's memory: pages that are read in pieces of a megabyte. */
const SIZE = 0x110_000

function plugin(text: string, at: number): FakeModule {
  const content = new Uint8Array(SIZE)
  content.set(Buffer.from(text, 'latin1'), at)
  return {
    path: '/usr/lib/plugin.so',
    base: 0x7f10_0000_0000n,
    format: 'elf',
    segments: [{ offset: 0, size: SIZE, protection: 'r', content }],
  }
}

const LIBRARY = 0x7f20_0000_0000n

/** A module whose tables can be read, with these functions, texts in it at RVAs, and code. */
function withTexts(
  texts: Readonly<Record<number, string>>,
  functions: Readonly<Record<string, number>> = {},
  code: ReadonlyMap<number, number> = new Map(),
): FakeModule {
  const made = library({ base: LIBRARY, soname: 'libplugin.so', functions: { work: 0x2000, ...functions } })
  const [segment] = made.segments
  const content = Uint8Array.from(segment?.content ?? [])
  for (const [at, text] of Object.entries(texts)) content.set(Buffer.from(text, 'latin1'), Number(at))
  const text = new Uint8Array(PAGE).fill(0xcc)
  for (const [at, byte] of code) text[at - content.length] = byte
  const executable = { offset: content.length, size: PAGE, protection: 'rx' as const, content: text }
  return { ...made, segments: [{ offset: 0, size: content.length, protection: 'r', content }, executable] }
}

/** `lea rdi, [rip + …]` at one RVA that makes another. */
function lea(at: number, to: number): ReadonlyMap<number, number> {
  const code = Buffer.from([0x48, 0x8d, 0x3d, 0, 0, 0, 0])
  code.writeInt32LE(to - (at + code.length), 3)
  return new Map([...code].map((byte, i) => [at + i, byte]))
}

const patch = newPatch()
const retyped = { ...patch, manifest: { ...patch.manifest, mustBeUnused: ['scale', 'weigh'] } }

async function codes(...modules: FakeModule[]): Promise<string[]> {
  const target = newTarget(7, [baseModule(), ...modules])
  const open = () => fakeBackend([target]).open(target.pid)
  const before = snapshot(target)
  const { blockers } = checkPatch(open(), retyped)
  const applied = await applyPatch(open(), retyped).then(
    () => true,
    () => false,
  )
  expect(applied).toBe(blockers.length === 0)
  if (!applied) expect([snapshot(target), ownRegions(target)]).toEqual([before, []])
  return blockers.map(({ code, symbol }) => `${code} ${symbol}`)
}

describe('exports whose signature changes', () => {
  test('are refused where another module holds the name, wherever in its memory', async () => {
    expect(await codes(plugin('\0scale\0', 0x100))).toEqual(['EXPORT_IN_USE scale'])
    // The end of a longer name may be shared.
    expect(await codes(plugin('\0upscale\0', 0x100))).toEqual(['EXPORT_IN_USE scale'])
    expect(await codes(plugin('\0scale\0weigh\0', SIZE - 16))).toEqual(['EXPORT_IN_USE scale', 'EXPORT_IN_USE weigh'])
    for (const at of [0xfffff, 0xffffe, 0xffffb, 0x100000]) expect(await codes(plugin('scale\0', at))).toEqual(['EXPORT_IN_USE scale'])
  })

  test('are refused where a symbol has the name, wherever in the table of strings, and not where one only ends so', async () => {
    expect(await codes(withTexts({}, { scale: 0x1000 }))).toEqual(['EXPORT_IN_USE scale'])
    expect(await codes(withTexts({}, { upscale: 0x1000, scaled: 0x1010 }))).toEqual([])
  })

  test('are refused where a text is the name; where one ends so only if something leads there', async () => {
    const [AT, TAIL] = [0x1800, 0x1802]
    expect(await codes(withTexts({ [AT]: '\0scale\0' }))).toEqual(['EXPORT_IN_USE scale'])
    // Behind a number, which is no text.
    expect(await codes(withTexts({ [AT]: '\x01scale\0' }))).toEqual(['EXPORT_IN_USE scale'])
    expect(await codes(withTexts({ [AT]: 'upscale\0' }))).toEqual([])
    expect(await codes(withTexts({ [AT]: 'upscale\0' }, {}, lea(0x2010, AT)))).toEqual([])
    expect(await codes(withTexts({ [AT]: 'upscale\0' }, {}, lea(0x2010, TAIL)))).toEqual(['EXPORT_IN_USE scale'])
    const pointer = Buffer.alloc(8)
    pointer.writeBigUInt64LE(LIBRARY + BigInt(TAIL))
    expect(await codes(withTexts({ [AT]: 'upscale\0', 6403: pointer.toString('latin1') }))).toEqual(['EXPORT_IN_USE scale'])
  })

  test('are refused where a table of distances has the ending, and code the table', async () => {
    const table = Buffer.alloc(8)
    table.writeInt32LE(0x1800 - 0x1900, 0)
    table.writeInt32LE(0x1802 - 0x1900, 4)
    const texts = { 6144: 'upscale\0', 6400: table.toString('latin1') }
    expect(await codes(withTexts(texts))).toEqual([])
    expect(await codes(withTexts(texts, {}, lea(0x2010, 0x1900)))).toEqual(['EXPORT_IN_USE scale'])
  })

  test('are no obstacle where nobody else does', async () => {
    expect(await codes()).toEqual([])
    expect(await codes(plugin('\0scaled\0scal\0weig', PAGE))).toEqual([])
  })
})
