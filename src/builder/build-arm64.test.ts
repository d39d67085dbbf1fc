import { beforeAll, describe, expect, it } from 'vitest'
import { viewOf } from '../binary/struct.ts'
import { offsetOf } from '../machine/arm64/fields.ts'
import { AUTIASP, decodeWord, PACIASP, wordAt } from '../machine/arm64/instructions.ts'
import type { PatchImage } from '../patch/image.ts'
import { placeImage } from '../patch/place.ts'
import { readPatchImage } from '../patch/read.ts'
import type { BaseImage } from './base-image.ts'
import { buildPatch } from './build.ts'
import { readBase } from './images.ts'

const fixture = (path: string): string => new URL(`fixtures/${path}`, import.meta.url).pathname

const BASE_AT = 0xffff80000000n
const PATCH_AT = 0xffff80100000n
/** What import slots hold: addresses made of their own. */
const importedAt = (slot: bigint): bigint => 0xabc000000000n + (slot - BASE_AT)

class Placed {
  readonly image: PatchImage
  readonly base: BaseImage
  readonly memory: Uint8Array

  constructor(toolchain: string, library: string) {
    const built = buildPatch({
      before: fixture(`${toolchain}/before`),
      after: fixture(`${toolchain}/after`),
      base: fixture(`${toolchain}/${library}`),
      sequence: 3,
      id: 'service-3',
      description: '',
      cves: [],
    })
    if (built.outcome !== 'built') throw new Error(built.outcome)
    this.image = readPatchImage(built.image)
    this.base = readBase(fixture(`${toolchain}/${library}`))
    this.memory = new Uint8Array(this.image.imageSize)
    const [entry] = this.image.table.bases
    if (entry === undefined) throw new Error('no base')
    const read = (address: bigint): Uint8Array => {
      const bytes = new Uint8Array(8)
      viewOf(bytes).setBigUint64(0, importedAt(address), true)
      return bytes
    }
    for (const s of placeImage(this.image, entry, { imageAddress: PATCH_AT, baseAddress: BASE_AT, read, imports: new Map() }))
      this.memory.set(s.content, s.rva)
  }

  word(rva: number): number {
    return wordAt(this.memory, rva)
  }

  /** Where calls lead, and what each ADRP with the instruction that completes it addresses. */
  references(rva: number, size: number): bigint[] {
    const found: bigint[] = []
    const pages = new Map<number, bigint>()
    for (let at = rva; at < rva + size; at += 4) {
      const word = this.word(at)
      const { form, distance } = decodeWord(word)
      const place = PATCH_AT + BigInt(at)
      if (form === 'bl') found.push(place + BigInt(distance as number))
      else if (form === 'adrp') pages.set(word & 31, place - (place % 4096n) + BigInt(distance as number))
      else {
        const page = pages.get((word >>> 5) & 31)
        const offset = offsetOf(word)
        if (page !== undefined && offset !== undefined) found.push(page + BigInt(offset))
        if (form === 'add') pages.delete(word & 31)
      }
    }
    return found
  }

  /** What lies at an address, in words. */
  nameAt(address: bigint): string {
    const rva = Number(address - BASE_AT)
    const slot = this.base.importSlots.find((s) => s.rva === rva)
    if (slot !== undefined) return `slot ${slot.name}`
    const names = this.base.symbols.filter((s) => s.rva === rva && s.name !== '').map((s) => s.name)
    if (rva >= 0 && rva < this.base.imageSize) return `base ${names.sort().at(-1) ?? rva.toString(16)}`
    const own = Number(address - PATCH_AT)
    const { functions, added } = this.image.manifest
    const named = [...functions, ...added].find((f) => f.patchRva === own)
    if (named !== undefined) return `patch ${named.name}`
    const page = decodeWord(this.word(own))
    if (page.form === 'adrp' && decodeWord(this.word(own + 8)).flow === 'jump-indirect')
      return `stub to ${this.nameAt(this.references(own, 12)[0] ?? 0n)}`
    const pointer = viewOf(this.memory).getBigUint64(own, true)
    if (pointer >= BASE_AT && pointer < BASE_AT + BigInt(this.base.imageSize)) return `pointer to ${this.nameAt(pointer)}`
    const text = Buffer.from(this.memory.subarray(own, this.memory.indexOf(0, own))).toString('latin1')
    return /^[ -~]{3,}$/.test(text) ? JSON.stringify(text) : 'bytes'
  }
}

describe.each([
  { name: 'gcc-arm64-so', redirect: 'first-bytes' },
  { name: 'gcc-arm64-bti-so', redirect: 'first-bytes' },
  { name: 'gcc-arm64-patchable-so', redirect: 'entry-nops' },
  { name: 'clang-arm64-so', redirect: 'first-bytes' },
  { name: 'clang-arm64-dll', redirect: 'first-bytes', library: 'service.dll' },
  { name: 'clang-arm64-pdb-dll', redirect: 'first-bytes', library: 'service.dll' },
])('a library for ARM64 made by $name', ({ name, redirect, library = 'libservice.so' }) => {
  let placed: Placed
  beforeAll(() => {
    placed = new Placed(name, library)
  })

  it('is redirected in one place, and the table says what stands there', () => {
    const { functions } = placed.image.manifest
    expect(placed.image.machine).toBe('arm64')
    expect(functions).toMatchObject([{ name: 'service_handle', redirect }])
    const [records] = placed.image.table.bases[0]?.chunks.filter((c) => c.type === 'FUNCTION') ?? []
    const rva = placed.base.symbols.find((s) => s.name === 'service_handle')?.rva as number
    const first = viewOf(placed.base.bytes(rva, 4) as Uint8Array).getUint32(0, true)
    expect(records?.records).toEqual([{ source: rva, target: functions[0]?.patchRva, extras: [first] }])
  })

  it('refers to the right things of the base image, of the patch and of other modules', () => {
    const [f] = placed.image.manifest.functions
    const seen = placed.references(f?.patchRva as number, f?.patchSize as number).map((address) => placed.nameAt(address))
    const found = new Set(
      seen.map((s) =>
        s.replace(/^(stub to slot|base) (puts|strlen|service_apply)$/, 'call $2').replace(/\.\d+$|service_handle\.(?=last)/g, ''),
      ),
    )
    const total = name.startsWith('gcc') ? /^(base|slot|pointer to base) shared_total$/ : /shared_total$/
    expect([...found].filter((s) => total.test(s)).length).toBe(1)
    expect([...found]).toEqual(
      expect.arrayContaining([
        'base audit',
        'base buffer',
        'base last',
        'base requests',
        'base twice',
        'base weigh',
        'call puts',
        'call service_apply',
        'call strlen',
        'patch clamp',
        '"unknown kind"',
        '"four"',
        '"one"',
      ]),
    )
    // The table of distances that a switch jumps through, where there is one; and the function that it is, which calls itself.
    found.delete('bytes')
    found.delete('patch service_handle')
    expect(found.size).toBe(14)
  })

  it('takes nothing from mapping symbols', () => {
    expect(placed.base.symbols.filter((s) => /^\$[xd]/.test(s.name))).toEqual([])
    expect(placed.image.manifest.added.map((a) => a.name).filter((n) => n.startsWith('$'))).toEqual([])
  })
})

describe('functions that sign their return address', () => {
  const placed = new Placed('gcc-arm64-signed-so', 'liblanding.so')
  const rvaOf = (name: string): number => placed.image.manifest.functions.find((f) => f.name === name)?.patchRva as number
  const original = (name: string): number => {
    const rva = placed.base.symbols.find((s) => s.name === name)?.rva as number
    return wordAt(placed.base.bytes(rva, 4) as Uint8Array, 0)
  }

  it('the old one did, and so does the new one: it is entered behind that', () => {
    expect(original('steady')).toBe(PACIASP)
    expect(placed.word(rvaOf('steady') - 4)).toBe(PACIASP)
  })

  it('the old one did, the new one does not: the signature is taken off before it', () => {
    expect(original('shrunk')).toBe(PACIASP)
    const landing = rvaOf('shrunk')
    expect(placed.word(landing)).toBe(AUTIASP)
    const { form, distance } = decodeWord(placed.word(landing + 4))
    expect(form).toBe('b')
    // bti c; add w0, w0, #2; ret
    const entry = landing + 4 + (distance as number)
    expect([placed.word(entry), placed.word(entry + 4), placed.word(entry + 8)]).toEqual([0xd503245f, 0x11000800, 0xd65f03c0])
  })

  it('only the new one does: it is entered at its beginning', () => {
    expect(original('grown')).not.toBe(PACIASP)
    expect(placed.word(rvaOf('grown'))).toBe(PACIASP)
  })
})
