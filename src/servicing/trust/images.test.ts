import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { buildPatch } from '../../builder/build.ts'
import { HotpatchError } from '../../errors.ts'
import { readPatchImage } from '../../patch/read.ts'
import { imageDigest, readSignature } from '../../patch/signature.ts'
import { requireTrusted, signImage } from './images.ts'
import { generateKey, readPrivateKey, readPublicKey } from './keys.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../../builder/fixtures/${name}`, import.meta.url))
function patch(folder: string, base: string): Uint8Array {
  const built = buildPatch({
    before: fixture(`${folder}/before`),
    after: fixture(`${folder}/after`),
    base: fixture(`${folder}/${base}`),
    sequence: 1,
    id: 'signed',
    description: '',
    cves: [],
  })
  if (built.outcome !== 'built') throw new Error('the fixtures differ in nothing')
  return built.image
}

const vendor = generateKey()
const stranger = generateKey()
const secret = readPrivateKey(vendor.privatePem, 'vendor')
const trusted = [{ ...readPublicKey(vendor.publicPem, 'vendor'), name: 'vendor', file: 'vendor.pub' }]
const others = [{ ...readPublicKey(stranger.publicPem, 'stranger'), name: 'stranger', file: 'stranger.pub' }]
const ask = (file: Uint8Array, keys = trusted) => requireTrusted(file, keys, '/etc/hotpatch/keys')

describe.each([
  ['ELF', patch('gcc-so', 'libservice.so')],
  ['PE', patch('mingw-dll', 'service.dll')],
])('a signed patch image (%s)', (_format, image) => {
  const signed = signImage(image, secret)

  test('reading and verifying change nothing in the file that was read', () => {
    const file = Buffer.from(signed)
    readPatchImage(file)
    ask(file)
    expect(file.equals(signed)).toBe(true)
  })

  test('is trusted by who trusts its key', () => {
    expect(ask(signed).name).toBe('vendor')
  })

  test('is the same image as before, and still a patch image', () => {
    expect(imageDigest(signed)).toEqual(imageDigest(image))
    const { fileSha256, ...rest } = readPatchImage(signed)
    expect(fileSha256).toEqual(readPatchImage(image).fileSha256)
    expect(rest.manifest.id).toBe('signed')
  })

  test('is refused unsigned, and by who trusts another key', () => {
    expect(() => ask(image)).toThrow(/SIGNATURE_MISSING/)
    expect(() => ask(signed, others)).toThrow(/SIGNATURE_UNTRUSTED/)
    expect(() => ask(signed, [])).toThrow(/SIGNATURE_UNTRUSTED/)
  })

  test('a signature by the wrong key under a trusted id is not good', () => {
    const forged = signImage(image, readPrivateKey(stranger.privatePem, 'stranger'))
    expect(() =>
      ask(forged, [
        { ...(others[0] as (typeof others)[0]), id: readSignature(forged)?.keyId ?? '', key: (trusted[0] as (typeof trusted)[0]).key },
      ]),
    ).toThrow(/SIGNATURE_INVALID/)
  })

  test('a byte changed anywhere is found, but for the check sum that no loader of ours looks at', () => {
    const checkSum = signed[0] === 0x4d ? new DataView(signed.buffer, signed.byteOffset).getUint32(0x3c, true) + 24 + 64 : -8
    const unnoticed: number[] = []
    for (let at = 0; at < signed.length; at++) {
      if (at >= checkSum && at < checkSum + 4) continue
      const changed = signed.slice()
      changed[at] = (changed[at] as number) ^ (1 << (at % 8))
      try {
        ask(changed)
        unnoticed.push(at)
      } catch (error) {
        if (!(error instanceof HotpatchError) || error.code === 'DEFECT') throw error
      }
    }
    expect(unnoticed).toEqual([])
  }, 120_000)
})
