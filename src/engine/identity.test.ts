import { describe, expect, test } from 'vitest'
import { fakeBackend } from '../process/fake/index.ts'
import { applyPatch, rollbackPatch, verifyProcess } from './index.ts'
import { BASE, baseModule, newTarget, snapshot } from './testing/world.ts'
import { CHECK_SUM, patchFor, peModule, TEXT_SHA256, TIME_DATE_STAMP } from './testing/world-pe.ts'

const KINDS = {
  'PE by time stamp, check sum and text': {
    module: peModule(),
    patch: patchFor({ timeDateStamp: TIME_DATE_STAMP, checkSum: CHECK_SUM, textSha256: TEXT_SHA256 }, 'pe'),
  },
  'ELF without a build id by its text': {
    module: baseModule({ buildId: null }),
    patch: patchFor({ timeDateStamp: TEXT_SHA256.readUInt32LE(0), checkSum: TEXT_SHA256.readUInt32LE(4), textSha256: TEXT_SHA256 }, 'elf'),
  },
}

describe.each(Object.entries(KINDS))('%s', (_, { module, patch }) => {
  const fresh = () => {
    const target = newTarget(7, [module])
    return { target, process: fakeBackend([target]).open(7) }
  }

  test('is known, also while it is patched and after', async () => {
    const { target, process } = fresh()
    const original = snapshot(target)
    expect((await applyPatch(process, patch)).outcome).toBe('applied')
    expect((await applyPatch(process, patch)).outcome).toBe('already-applied')
    expect(verifyProcess(process).outcome).toBe('verified')
    await rollbackPatch(process)
    expect(snapshot(target)).toBe(original)
    expect((await applyPatch(process, patch)).outcome).toBe('applied')
  })

  test('is another one where a byte of its text differs', async () => {
    const { target, process } = fresh()
    target.poke(BASE + 0x2000n, Uint8Array.of(0))
    await expect(applyPatch(process, patch)).rejects.toMatchObject({ code: expect.stringMatching(/^BASE_(DIFFERS|NOT_MAPPED)$/) })
    expect(target.log).toEqual([])
  })
})

test('the unwind data of a PE is registered as what it is', async () => {
  const { module, patch } = KINDS['PE by time stamp, check sum and text']
  const target = newTarget(7, [module])
  const process = fakeBackend([target]).open(7)
  const requests: unknown[] = []
  const spy = Object.assign(process, {
    registerUnwind: (request: { kind: 'pdata'; address: bigint }) => {
      requests.push(request)
      return { kind: request.kind, address: request.address }
    },
  })
  const { mappings } = await applyPatch(spy, patch)
  const image = BigInt(mappings[0]?.address ?? 0)
  expect(requests).toEqual([{ kind: 'pdata', address: image + 0x800n, count: 3, imageBase: image }])
})
