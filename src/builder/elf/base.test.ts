import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { readElfBase } from './base.ts'

const folder = new URL('../../binary/elf/fixtures/', import.meta.url)
const fixture = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))
const images = readdirSync(folder).filter((name) => /(pie|\.so)$/.test(name))
const base = (name: string) => readElfBase(fixture(name), `/somewhere/${name}`)

test('a position-independent program', () => {
  const image = base('gcc-12-bfd-pie')
  expect(image).toMatchObject({ name: 'gcc-12-bfd-pie', format: 'elf', machine: 'x64', preferredBase: 0n, relocatable: true })
  expect(image.importSlots.map((s) => `${s.name} ${s.binding}`).sort()).toEqual(['other lazy', 'printf lazy', 'versioned lazy'])
  const helper = image.symbols.find((s) => s.name === 'helper')
  expect(helper).toMatchObject({ kind: 'function', binding: 'local', file: 'sample.c', exported: false, size: 25 })
  for (const slot of image.importSlots) expect(image.isRelocated(slot.rva)).toBe(true)
  expect(image.isRelocated(helper?.rva ?? 0)).toBe(false)
})

test('bound before the start, the slots of calls are final', () => {
  for (const name of ['gcc-12-bfd-plain-pie', 'clang-19-lld-pie'])
    for (const slot of base(name).importSlots) expect(slot.binding).toBe('eager')
})

test('relative relocations in RELR form are seen', () => {
  const image = base('clang-19-lld-pie')
  const constants = image.symbols.find((s) => s.name === 'constants')?.rva ?? 0
  expect([image.isRelocated(constants), image.isRelocated(constants + 8), image.isRelocated(constants + 4)]).toEqual([true, true, false])
})

test('a program at a fixed address: RVAs count from its lowest page; a copied variable is its own', () => {
  const image = base('gcc-12-bfd-nopie')
  expect(image).toMatchObject({ preferredBase: 0x400000n, relocatable: false })
  const copied = image.symbols.filter((s) => s.name.startsWith('copied'))
  expect(copied.map((s) => s.name)).toEqual(['copied'])
  expect(
    image.sections.find((s) => s.kind === 'bss' && s.rva <= (copied[0]?.rva ?? 0) && (copied[0]?.rva ?? 0) < s.rva + s.size),
  ).toBeDefined()
})

test('only a version that is not the default stays in a name', () => {
  const names = base('gcc-12-bfd.so')
    .symbols.filter((s) => s.exported)
    .map((s) => s.name)
  expect(names.sort()).toEqual(['copied', 'other', 'printf', 'versioned', 'versioned@V1'])
  const stripped = base('gcc-12-bfd-stripped.so').symbols
  expect(stripped.map((s) => s.name).sort()).toEqual(['copied', 'other', 'printf', 'versioned', 'versioned@V1'])
})

test('identity: the build id, and the text hash without section headers too', () => {
  const whole = base('gcc-12-bfd.so').identity
  const id = Buffer.from(whole.buildId ?? '', 'hex')
  expect([whole.timeDateStamp, whole.checkSum]).toEqual([id.readUInt32LE(0), id.readUInt32LE(4)])
  expect(base('gcc-12-bfd-stripped.so').identity).toEqual(whole)
})

test('.tbss takes no place: what follows it is found', () => {
  for (const name of images) {
    const image = base(name)
    for (const symbol of image.symbols.filter((s) => s.kind === 'object' || s.kind === 'function')) {
      const section = image.sections.find((s) => symbol.rva >= s.rva && symbol.rva < s.rva + s.size)
      expect(section?.kind).not.toBe('tls')
      if (symbol.kind === 'function') expect(section?.kind).toBe('code')
    }
  }
})

describe('damaged images are read or refused', () => {
  test.each(images)('%s', (name) => {
    const original = fixture(name)
    const change = fc.tuple(fc.nat(original.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
        const data = original.slice()
        for (const [at, value] of changes) data[at] = value
        try {
          const image = readElfBase(data, name)
          image.bytes(0, 16)
          image.isRelocated(0)
        } catch (error) {
          expect(error).toBeInstanceOf(HotpatchError)
        }
      }),
      { numRuns: 100 },
    )
  })
})
