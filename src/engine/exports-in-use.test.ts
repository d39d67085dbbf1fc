import { describe, expect, test } from 'vitest'
import { type FakeModule, fakeBackend } from '../process/fake/index.ts'
import { applyPatch, checkPatch } from './index.ts'
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

  test('are no obstacle where nobody else does', async () => {
    expect(await codes()).toEqual([])
    expect(await codes(plugin('\0scaled\0scal\0weig', PAGE))).toEqual([])
  })
})
