/** DLLs with native thread-local data, by each linker: what the patch's accesses hold is what the old function's hold. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readTlsDirectory } from '../../binary/pe/directories.ts'
import { directory, readPe } from '../../binary/pe/reader.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { offsetOf } from '../../machine/arm64/fields.ts'
import { decode } from '../../machine/x64/decode.ts'
import { placeImage } from '../../patch/place.ts'
import { readPatchImage } from '../../patch/read.ts'
import { buildPatch } from '../build.ts'
import { diffBuilds } from '../diff.ts'
import type { Block } from '../graph.ts'
import { readBase } from '../images.ts'
import { loadGraphs } from '../inputs.ts'
import type { Reason } from '../reasons.ts'

const fixture = (path: string): string => new URL(`../fixtures/${path}`, import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), 'hotpatch-tls-'))
afterAll(() => rmSync(work, { recursive: true }))

const LINKED = [
  { folder: 'clang-tls-mingw32', image: 'ld.dll' },
  { folder: 'clang-tls-mingw32', image: 'ld-stripped.dll' },
  { folder: 'clang-tls-mingw32', image: 'lld.dll' },
  { folder: 'clang-tls-msvc', image: 'lld.dll' },
] as const

const BASE_AT = 0x7f0000000000n
const PATCH_AT = 0x7f0000100000n

const patched = (folder: string, base: string) =>
  buildPatch({
    before: fixture(`${folder}/before`),
    after: fixture(`${folder}/after`),
    base,
    id: 'counter',
    sequence: 1,
    description: '',
    cves: [],
  })

const counterIn = (folder: string, side: string): Block => {
  const found = loadGraphs(fixture(`${folder}/${side}`)).flatMap((g) => g.blocks.filter((b) => b.name === 'counter_next'))
  expect(found.length).toBe(1)
  return found[0] as Block
}

/** What the fields of thread-local accesses hold, without their addends, by variable. `code` begins with the function. */
function accesses(block: Block, code: Uint8Array): Record<string, number[]> {
  const seen: Record<string, number[]> = {}
  for (const { kind, offset, addend, target } of block.edges) {
    if (kind !== 'secrel32') continue
    const found = viewOf(code).getInt32(offset, true) - addend
    seen[target.name] = [...new Set([...(seen[target.name] ?? []), found])]
  }
  return seen
}

function functionIn(image: Uint8Array): { code: Uint8Array; references: bigint[] } {
  const patch = readPatchImage(image)
  const [entry] = patch.table.bases
  if (entry === undefined) throw new Error('no base')
  const memory = new Uint8Array(patch.imageSize)
  const read = (): Uint8Array => {
    throw new Error('nothing is read through a slot')
  }
  for (const s of placeImage(patch, entry, { imageAddress: PATCH_AT, baseAddress: BASE_AT, read, imports: new Map() }))
    memory.set(s.content, s.rva)
  const [f] = patch.manifest.functions
  if (f === undefined) throw new Error('no function')
  const code = memory.subarray(f.patchRva, f.patchRva + f.patchSize)
  const { instructions, stoppedAt } = decode(code)
  expect(stoppedAt).toBeUndefined()
  const references = instructions.flatMap(({ ripTarget, nop }) =>
    ripTarget === undefined || nop ? [] : [PATCH_AT + BigInt(f.patchRva + ripTarget)],
  )
  return { code, references }
}

describe.each(LINKED)('$folder/$image', ({ folder, image }) => {
  const path = fixture(`${folder}/${image}`)

  it('has every variable where the old function has it, and the number where the loader puts it', () => {
    const built = patched(folder, path)
    if (built.outcome !== 'built') throw new Error(built.outcome)
    const { code, references } = functionIn(built.image)
    const before = counterIn(folder, 'before')
    const base = readBase(path)
    const [f] = readPatchImage(built.image).manifest.functions
    const old = accesses(before, base.bytes(f?.rva as number, before.size) as Uint8Array)
    // Static ones of functions are `counter_next.within`.
    expect(Object.keys(old).sort()).toEqual(['counter_next.within', 'filling', 'own', 'shared', 'visible'])
    expect(accesses(counterIn(folder, 'after'), code)).toEqual(old)
    expect(Object.values(old).every(({ length }) => length === 1)).toBe(true)
    expect(new Set(Object.values(old).flat()).size).toBe(5)
    const pe = readPe(new Uint8Array(readFileSync(path)))
    const index = Number((readTlsDirectory(pe)?.AddressOfIndex ?? 0n) - pe.optionalHeader.ImageBase)
    expect(references).toEqual([BASE_AT + BigInt(index)])
  })
})

describe('ARM64: clang-tls-arm64/lld.dll', () => {
  const folder = 'clang-tls-arm64'
  const path = fixture(`${folder}/lld.dll`)
  /** The two halves of the offset of each variable, apart from what the object adds. */
  const halves = (block: Block, code: Uint8Array): Record<string, number[]> => {
    const seen: Record<string, number[]> = {}
    for (const { kind, offset, addend, target } of block.edges) {
      if (kind !== 'secrelhi12' && kind !== 'secrello12') continue
      const word = viewOf(code).getUint32(offset, true)
      const half = kind === 'secrelhi12' ? ((word >>> 10) & 0xfff) * 4096 : (offsetOf(word) ?? Number.NaN) - addend
      seen[`${kind} ${target.name}`] = [...new Set([...(seen[`${kind} ${target.name}`] ?? []), half])]
    }
    return seen
  }

  it('has every variable where the old function has it', () => {
    const built = patched(folder, path)
    if (built.outcome !== 'built') throw new Error(built.outcome)
    const patch = readPatchImage(built.image)
    const [f] = patch.manifest.functions
    const text = patch.segments.find(({ protection }) => protection === 'rx')
    if (f === undefined || text === undefined) throw new Error('no function')
    const before = counterIn(folder, 'before')
    const old = halves(before, readBase(path).bytes(f.rva, before.size) as Uint8Array)
    expect(Object.keys(old).length).toBe(10)
    expect(halves(counterIn(folder, 'after'), text.content.subarray(f.patchRva - text.rva))).toEqual(old)
    const lows = Object.entries(old).filter(([name]) => name.startsWith('secrello12'))
    expect(new Set(lows.flatMap(([, places]) => places)).size).toBe(5)
  })

  it('is refused where the old function has one elsewhere', () => {
    const data = new Uint8Array(readFileSync(path))
    const low = counterIn(folder, 'before').edges.find((e) => e.kind === 'secrello12' && e.target.name === 'visible')
    const function_ = readBase(path).symbols.find((s) => s.name === 'counter_next')
    const section = readPe(data).sections.find((s) => (function_?.rva ?? 0) >= s.rva && (function_?.rva ?? 0) < s.rva + s.size)
    const at = (section?.fileOffset ?? 0) + (function_?.rva ?? 0) - (section?.rva ?? 0) + (low?.offset ?? 0)
    viewOf(data).setUint32(at, viewOf(data).getUint32(at, true) ^ (1 << 12), true)
    const changed = join(work, 'arm64.dll')
    writeFileSync(changed, data)
    expect(() => patched(folder, changed)).toThrow(
      expect.objectContaining({ code: 'REFUSED', detail: expect.stringMatching(/SYMBOL_MISSING: .* refers to visible/) }),
    )
  })
})

describe('what does not agree is refused', () => {
  const reasons = (change: (data: Uint8Array, at: (rva: number) => number) => void, image = 'ld.dll'): string[] => {
    const data = new Uint8Array(readFileSync(fixture(`clang-tls-mingw32/${image}`)))
    const { sections } = readPe(data)
    change(data, (rva) => {
      const section = sections.find((s) => rva >= s.rva && rva < s.rva + s.size)
      return (section?.fileOffset ?? 0) + rva - (section?.rva ?? 0)
    })
    const path = join(work, image)
    writeFileSync(path, data)
    try {
      patched('clang-tls-mingw32', path)
    } catch (error) {
      if (!(error instanceof HotpatchError) || error.code !== 'REFUSED') throw error
      return (error.facts.reasons as Reason[]).filter((r) => r.weight !== 'note').map((r) => `${r.code} ${r.symbol}`)
    }
    throw new Error('not refused')
  }
  const add = (data: Uint8Array, at: number, more: bigint): void =>
    viewOf(data).setBigUint64(at, viewOf(data).getBigUint64(at, true) + more, true)
  /** Offsets of the fields of IMAGE_TLS_DIRECTORY64. */
  const [START, INDEX] = [0, 16]
  const directoryAt = (data: Uint8Array): number => directory(readPe(data), 'TLS')?.rva ?? 0

  it('the old function finds a variable elsewhere', () => {
    const before = counterIn('clang-tls-mingw32', 'before')
    const field = before.edges.find((e) => e.target.name === 'visible')?.offset ?? 0
    const function_ = readBase(fixture('clang-tls-mingw32/ld.dll')).symbols.find((s) => s.name === 'counter_next')
    expect(
      reasons((data, at) => {
        const place = at((function_?.rva ?? 0) + field)
        viewOf(data).setInt32(place, viewOf(data).getInt32(place, true) + 4, true)
      }),
    ).toEqual(['SYMBOL_AMBIGUOUS counter_next'])
  })

  it('the loader leaves the number elsewhere than where the old function takes it', () => {
    expect(reasons((data, at) => add(data, at(directoryAt(data)) + INDEX, 4n))).toEqual(['SYMBOL_AMBIGUOUS counter_next'])
  })

  it('the blocks of threads are no copies of the section', () => {
    expect(new Set(reasons((data, at) => add(data, at(directoryAt(data)) + START, 8n)))).toEqual(new Set(['TLS_UNSUPPORTED counter_next']))
  })
})

it('a diff without a base image says that it can be patched', () => {
  const report = diffBuilds(fixture('clang-tls-msvc/before'), fixture('clang-tls-msvc/after'))
  expect(report.outcome).toBe('patchable')
  expect(report.items.map((i) => `${i.change} ${i.kind} ${i.name}`)).toEqual(['changed function counter_next'])
})

const FRESH = [
  ...LINKED.map((row) => ({ ...row, size: 16, alignment: 4 })),
  { folder: 'clang-tls-arm64', image: 'lld.dll', size: 20, alignment: 8 },
]

describe.each(FRESH)('variables that a fix brings: $folder/$image', ({ folder, image, size, alignment }) => {
  const path = fixture(`${folder}/${image}`)
  const built = () => {
    const naming = { id: 'counter', sequence: 1, description: '', cves: [] }
    const result = buildPatch({ before: fixture(`${folder}/before`), after: fixture(`${folder}/fresh`), base: path, ...naming })
    if (result.outcome !== 'built') throw new Error(result.outcome)
    return result.image
  }

  it('are a block of the patch image, with a directory for loaders', () => {
    const patch = readPatchImage(built())
    const variables = patch.manifest.added.filter(({ kind }) => kind === 'thread-local')
    expect(variables.map(({ name, size }) => [name, size]).sort()).toEqual([
      ['most', 4],
      ['tallies', 12],
    ])
    const { threadLocal } = patch
    expect(threadLocal).toMatchObject({ size, alignment, distances: [] })
    const initial = (name: string): number[] => {
      const variable = variables.find((v) => v.name === name)
      const from = (variable?.patchRva ?? 0) - (threadLocal?.rva ?? 0)
      return [...(threadLocal?.content.subarray(from, from + (variable?.size ?? 0)) ?? [])]
    }
    expect([initial('tallies'), initial('most')]).toEqual([
      [0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0],
    ])
  })

  it('are where the process says, in the code too', () => {
    const patch = readPatchImage(built())
    const [entry] = patch.table.bases
    const start = patch.threadLocal?.rva ?? 0
    if (entry === undefined) throw new Error('no base')
    const memory = new Uint8Array(patch.imageSize)
    const placement = { imageAddress: PATCH_AT, baseAddress: BASE_AT, read: () => new Uint8Array(8), imports: new Map() }
    // As if another block began 0x1230 bytes before these.
    const threadLocal = { distance: (rva: number) => BigInt(rva - start + 0x1230), index: () => 77 }
    for (const s of placeImage(patch, entry, { ...placement, threadLocal })) memory.set(s.content, s.rva)
    const rvaOf = (wanted: string): number => patch.manifest.added.find(({ name }) => name === wanted)?.patchRva ?? 0
    const tally = loadGraphs(fixture(`${folder}/fresh`)).flatMap((g) => g.blocks.filter((b) => b.name === 'tally'))[0] as Block
    const at = rvaOf('tally')
    const seen = new Set<string>()
    for (const { kind, offset, addend, target } of tally.edges) {
      const expected = rvaOf(target.name) - start + 0x1230 + addend
      if (kind === 'secrel32') expect(viewOf(memory).getInt32(at + offset, true)).toBe(expected)
      else if (kind === 'secrelhi12') expect(((viewOf(memory).getUint32(at + offset, true) >>> 10) & 0xfff) * 4096).toBe(0x1000)
      else if (kind === 'secrello12') expect(offsetOf(viewOf(memory).getUint32(at + offset, true))).toBe(expected % 4096)
      else continue
      seen.add(target.name)
    }
    expect([...seen].sort()).toEqual(['most', 'tallies'])
    // The number is in the one field that such records are for, and the function takes it from there.
    const slots = entry.chunks.flatMap(({ type, records }) => (type === 'OWN_THREAD_INDEX' ? records : []))
    expect(new Set(slots.map(({ source }) => source)).size).toBe(1)
    const slot = slots[0]?.source ?? 0
    expect(viewOf(memory).getUint32(slot, true)).toBe(77)
    const index = tally.edges.filter(({ target }) => target.name === '_tls_index')
    const taken = index.map(({ kind, offset }) => fieldTarget(kind, memory, at + offset))
    expect(taken).toEqual(index.map(({ kind }) => (kind === 'page21' ? slot - (slot % 4096) : kind === 'pageoff12' ? slot % 4096 : slot)))
    expect(taken.length).toBeGreaterThan(0)
  })
})

/** Where the field of an instruction leads: an RVA, that of its page, or the offset in one. */
function fieldTarget(kind: string, memory: Uint8Array, at: number): number {
  if (kind === 'pcrel32') return at + 4 + viewOf(memory).getInt32(at, true)
  const word = viewOf(memory).getUint32(at, true)
  if (kind === 'pageoff12') return offsetOf(word) ?? Number.NaN
  const pages = ((word >>> 29) & 3) | (((word >>> 5) & 0x7ffff) << 2)
  return at - (at % 4096) + (pages - (pages & 0x100000) * 2) * 4096
}
