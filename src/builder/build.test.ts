import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { viewOf } from '../binary/struct.ts'
import { decode } from '../machine/x64/decode.ts'
import type { PatchImage } from '../patch/image.ts'
import { placeImage } from '../patch/place.ts'
import { readPatchImage } from '../patch/read.ts'
import type { BaseImage } from './base-image.ts'
import { buildPatch } from './build.ts'
import { diffBuilds } from './diff.ts'
import { readBase } from './images.ts'
import { loadGraphs } from './inputs.ts'
import { prove } from './passes/prove.ts'
import { entryOf } from './places.ts'

const fixture = (path: string): string => new URL(`fixtures/${path}`, import.meta.url).pathname

const TOOLCHAINS = [
  { name: 'gcc-so', image: 'libservice.so', redirect: 'padding' },
  { name: 'gcc-patchable-so', image: 'libservice.so', redirect: 'entry-nops' },
  { name: 'clang-so', image: 'libservice.so', redirect: 'first-bytes' },
  { name: 'mingw-dll', image: 'service.dll', redirect: 'padding' },
  { name: 'clang-mingw-dll', image: 'service.dll', redirect: 'padding' },
] as const

const options = (name: string, image: string) => ({
  before: fixture(`${name}/before`),
  after: fixture(`${name}/after`),
  base: fixture(`${name}/${image}`),
  sequence: 3,
  id: 'service-3',
  description: 'a length that was believed',
  cves: ['CVE-2023-0809'],
})

const BASE_AT = 0x7f0000000000n
const PATCH_AT = 0x7f0000100000n

/** The patch image as the engine would map it, import slots pointing to addresses made of their own RVAs. */
class Placed {
  readonly image: PatchImage
  readonly #memory: Uint8Array

  constructor(image: PatchImage) {
    this.image = image
    this.#memory = new Uint8Array(image.imageSize)
    const [entry] = image.table.bases
    if (entry === undefined) throw new Error('no base')
    const read = (address: bigint, length: number): Uint8Array => {
      const bytes = new Uint8Array(length)
      viewOf(bytes).setBigUint64(0, 0xabc000000000n + (address - BASE_AT), true)
      return bytes
    }
    for (const s of placeImage(image, entry, { imageAddress: PATCH_AT, baseAddress: BASE_AT, read, imports: new Map() }))
      this.#memory.set(s.content, s.rva)
  }

  /** Direct calls and RIP-relative operands of a function: where they lead, in order. */
  references(rva: number, size: number): bigint[] {
    const { instructions, stoppedAt } = decode(this.#memory.subarray(rva, rva + size))
    expect(stoppedAt).toBeUndefined()
    return instructions.flatMap(({ flow, target, ripTarget, nop }) => {
      const to = flow === 'call' ? target : nop ? undefined : ripTarget
      return to === undefined ? [] : [PATCH_AT + BigInt(rva + to)]
    })
  }

  text(address: bigint): string {
    const at = Number(address - PATCH_AT)
    return Buffer.from(this.#memory.subarray(at, this.#memory.indexOf(0, at))).toString('latin1')
  }

  bytes(address: bigint, length: number): Uint8Array {
    const at = Number(address - PATCH_AT)
    return this.#memory.subarray(at, at + length)
  }
}

/** What lies at an address, in words. */
function nameAt(address: bigint, placed: Placed, base: BaseImage): string {
  const rva = Number(address - BASE_AT)
  const slot = base.importSlots.find((s) => s.rva === rva)
  if (slot !== undefined) return `slot ${slot.name}`
  const names = base.symbols.filter((s) => s.rva === rva && !s.name.startsWith('.') && s.name !== '').map((s) => s.name)
  if (rva >= 0 && rva < base.imageSize) return `base ${names.sort().at(-1) ?? rva.toString(16)}`
  const patched = placed.image.manifest.functions.find((f) => f.patchRva === Number(address - PATCH_AT))
  const added = placed.image.manifest.added.find((a) => a.patchRva === Number(address - PATCH_AT))
  if (patched !== undefined || added !== undefined) return `patch ${patched?.name ?? added?.name}`
  const bytes = placed.bytes(address, 8)
  const view = viewOf(bytes)
  if (bytes[0] === 0xff && bytes[1] === 0x25) return `stub to ${nameAt(address + 6n + BigInt(view.getInt32(2, true)), placed, base)}`
  const pointer = view.getBigUint64(0, true)
  if (pointer >= BASE_AT && pointer < BASE_AT + BigInt(base.imageSize)) return `pointer to ${nameAt(pointer, placed, base)}`
  const text = placed.text(address)
  return /^[ -~]{3,}$/.test(text) ? JSON.stringify(text) : 'bytes'
}

describe.each(TOOLCHAINS)('a library made by $name', ({ name, image: imageName, redirect }) => {
  let placed: Placed
  let base: BaseImage
  let bytes: Uint8Array
  beforeAll(() => {
    const built = buildPatch(options(name, imageName))
    if (built.outcome !== 'built') throw new Error(built.outcome)
    bytes = built.image
    placed = new Placed(readPatchImage(built.image))
    base = readBase(fixture(`${name}/${imageName}`))
  })

  it('differs in one function, with one new one and new variables', () => {
    const report = diffBuilds(fixture(`${name}/before`), fixture(`${name}/after`))
    expect(report.outcome).toBe('patchable')
    // Static locals are `warned.0` to gcc and `clamp.warned` to clang.
    const items = report.items.map((i) => `${i.change} ${i.kind} ${i.name.replace(/^clamp\.(?=warned)|\.\d+$/g, '')}`)
    expect(items.sort()).toEqual(['added data refused', 'added data warned', 'added function clamp', 'changed function service_handle'])
  })

  it('is redirected in one place, and the table says what stands there', () => {
    const { functions } = placed.image.manifest
    expect(functions).toMatchObject([{ name: 'service_handle', redirect }])
    const [records] = placed.image.table.bases[0]?.chunks.filter((c) => c.type === 'FUNCTION') ?? []
    const rva = base.symbols.find((s) => s.name === 'service_handle')?.rva as number
    expect(records?.records).toEqual([
      { source: rva, target: functions[0]?.patchRva, extras: [viewOf(base.bytes(rva, 4) as Uint8Array).getUint32(0, true)] },
    ])
  })

  it('refers to the right things of the base image, of the patch and of other modules', () => {
    const [f] = placed.image.manifest.functions
    const seen = placed.references(f?.patchRva as number, f?.patchSize as number).map((a) => nameAt(a, placed, base))
    // mingw's base image has stubs of its own for imports, which are as good.
    const found = new Set(
      seen.map((s) =>
        s.replace(/^(stub to slot|base) (puts|strlen|service_apply)$/, 'call $2').replace(/\.\d+$|service_handle\.(?=last)/g, ''),
      ),
    )
    const total = name.includes('mingw') ? 'pointer to base shared_total' : 'base shared_total'
    expect([...found].sort()).toEqual(
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
        total,
        '"unknown kind"',
        '"four"',
        '"one"',
      ]),
    )
    // Whatever else it is can only be the jump table.
    expect([...found].filter((s) => s === 'bytes').length).toBe(1)
    found.delete('patch service_handle')
    expect(found.size).toBe(15)
  })

  it('takes the static function of its own file', () => {
    const weigh = base.symbols.filter((s) => s.name === 'weigh')
    expect(weigh.length).toBe(2)
    const service = loadGraphs(fixture(`${name}/before`)).find((g) => g.path.startsWith('service.'))
    const block = service?.blocks.find((b) => b.symbols.some((x) => x.name === 'weigh'))
    const own = weigh.find((x) => block !== undefined && prove(block, base, x.rva - entryOf(block)) === 'same')
    const [f] = placed.image.manifest.functions
    const calls = placed.references(f?.patchRva as number, f?.patchSize as number)
    expect(calls).toContain(BASE_AT + BigInt(own?.rva as number))
    expect(calls).not.toContain(BASE_AT + BigInt(weigh.find((s) => s !== own)?.rva as number))
  })

  it('has a jump table that leads into the new function', () => {
    const [f] = placed.image.manifest.functions
    const start = f?.patchRva as number
    const end = start + (f?.patchSize as number)
    const table = placed.references(start, end - start).find((a) => nameAt(a, placed, base) === 'bytes') as bigint
    const view = viewOf(placed.bytes(table, 28))
    for (let i = 0; i < 7; i++) {
      const target = Number(table - PATCH_AT) + view.getInt32(4 * i, true)
      expect(target).toBeGreaterThan(start)
      expect(target).toBeLessThan(end)
    }
  })

  it('is the same byte for byte wherever its inputs lie', () => {
    const folder = mkdtempSync(join(tmpdir(), 'hotpatch-build-'))
    try {
      cpSync(fixture(name), folder, { recursive: true })
      const moved = buildPatch({
        ...options(name, imageName),
        before: join(folder, 'before'),
        after: join(folder, 'after'),
        base: join(folder, imageName),
      })
      expect(moved.outcome === 'built' && Buffer.compare(moved.image, bytes)).toBe(0)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('has nothing to patch where both builds are the same', () => {
    const same = buildPatch({ ...options(name, imageName), after: fixture(`${name}/before`) })
    expect(same.outcome).toBe('nothing')
  })

  it('is refused for a base image that was linked from the build after the fix', () => {
    const { before, after, ...rest } = options(name, imageName)
    expect(() => buildPatch({ ...rest, before: after, after: before })).toThrow(/REFUSED/)
  })
})

describe('inputs', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'hotpatch-inputs-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('pairs two files whatever they are called', () => {
    cpSync(fixture('gcc-so/before/service.o'), join(folder, 'old.o'))
    cpSync(fixture('gcc-so/after/service.o'), join(folder, 'new.o'))
    const report = diffBuilds(join(folder, 'old.o'), join(folder, 'new.o'))
    expect(report.items.find((i) => i.change === 'changed')).toMatchObject({ name: 'service_handle', file: 'new.o' })
  })

  it('pairs the members of two archives, those of one name by their order', () => {
    const member = (name: string, data: Uint8Array): Buffer => {
      const header = `${`${name}/`.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'644'.padEnd(8)}${String(data.length).padEnd(10)}\x60\n`
      return Buffer.concat([Buffer.from(header, 'latin1'), data, Buffer.alloc(data.length & 1, 0x0a)])
    }
    const archive = (side: string, file: string): string => {
      const object = (name: string) => member('x.o', readFileSync(fixture(`gcc-so/${side}/${name}.o`)))
      const path = join(folder, file)
      writeFileSync(path, Buffer.concat([Buffer.from('!<arch>\n'), object('audit'), object('service')]))
      return path
    }
    const report = diffBuilds(archive('before', 'one.a'), archive('after', 'two.a'))
    expect(report.objects).toEqual({ before: 2, after: 2, identical: 1 })
    expect(report.items.find((i) => i.change === 'changed')).toMatchObject({ name: 'service_handle', file: 'two.a(x.o#2)' })
  })

  it('says so when a folder holds no objects', () => {
    const empty = mkdtempSync(join(folder, 'empty-'))
    const report = diffBuilds(empty, empty)
    expect(report.outcome).toBe('same')
    expect(report.notes).toEqual([`${empty} holds no object files (.o, .obj, .a, .lib)`])
  })

  it('refuses a path that is not there, and a file that is no object', () => {
    expect(() => diffBuilds(join(folder, 'nowhere'), folder)).toThrow(/FILE_UNREADABLE/)
    const text = new URL(import.meta.url).pathname
    expect(readFileSync(text).length).toBeGreaterThan(0)
    expect(() => diffBuilds(text, text)).toThrow(/FORMAT_UNKNOWN/)
  })
})
