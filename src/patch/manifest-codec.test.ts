import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../errors.ts'
import type { Manifest } from './manifest.ts'
import { encodeManifest, MANIFEST_LIMIT, parseManifest } from './manifest-codec.ts'

const manifest: Manifest = {
  format: 1,
  id: 'fix-1',
  description: 'Ünïcode',
  cves: ['CVE-2023-0809'],
  sequence: 1,
  tool: 'hotpatch 0.1.0',
  base: { name: 'server', textSha256: 'ab'.repeat(32), imageSize: 0x5000 },
  functions: [{ name: 'f', file: 'f.c', rva: 0x1000, size: 16, patchRva: 0x1000, patchSize: 20, redirect: 'padding' }],
  added: [],
  imports: [{ name: 'memcpy' }],
}

const text = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))

const detailOf = (bytes: Uint8Array): string => {
  try {
    parseManifest(bytes)
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'PATCH_MANIFEST_MALFORMED') return error.detail
    throw error
  }
  return 'read'
}

describe('manifests', () => {
  it('are read as they were written', () => {
    expect(parseManifest(encodeManifest(manifest))).toEqual(manifest)
  })

  it('are the same bytes in whatever order their members came', () => {
    const reversed = Object.fromEntries(Object.entries(manifest).reverse()) as Manifest
    expect(encodeManifest(reversed)).toEqual(encodeManifest(manifest))
  })

  it.each<[unknown, string | RegExp]>([
    [{ ...manifest, format: 2 }, /^format: /],
    [{ ...manifest, id: '../x' }, /^id: /],
    [{ ...manifest, sequence: 0 }, /^sequence: /],
    [{ ...manifest, cves: ['CVE-2023-0809', 'nonsense'] }, /^cves\[1\]: /],
    [{ ...manifest, base: { ...manifest.base, textSha256: 'AB'.repeat(32) } }, /^base\.textSha256: /],
    [{ ...manifest, functions: [] }, /^functions: /],
    [{ ...manifest, functions: [{ ...manifest.functions[0], rva: -1 }] }, /^functions\[0\]\.rva: /],
    [{ ...manifest, functions: [{ ...manifest.functions[0], redirect: 'magic' }] }, /^functions\[0\]\.redirect: /],
    [{ ...manifest, more: 1 }, /^the manifest: .*more/],
    [[], /^the manifest: /],
    [null, /^the manifest: /],
    ['{', 'the manifest is no JSON in UTF-8'],
    ['', 'the manifest is no JSON in UTF-8'],
    ['['.repeat(1_000_000), 'the manifest is no JSON in UTF-8'],
  ])('%# names what is wrong', (value, detail) => {
    expect(detailOf(text(value))).toMatch(detail)
  })

  it('are refused when they are no UTF-8 or too long', () => {
    expect(detailOf(Uint8Array.of(0x22, 0xff, 0x22))).toBe('the manifest is no JSON in UTF-8')
    expect(detailOf(new Uint8Array(MANIFEST_LIMIT + 1).fill(0x20))).toBe('the manifest has 4194305 bytes, more than 4194304')
  })

  it('are not written when they could not be read', () => {
    expect(() => encodeManifest({ ...manifest, description: 'x'.repeat(4097) })).toThrowError(
      expect.objectContaining({ code: 'PATCH_MANIFEST_MALFORMED', detail: expect.stringMatching(/^description: /) }),
    )
  })

  it('are read or refused, whatever JSON they are', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(typeof detailOf(text(json))).toBe('string')
      }),
    )
  })
})
