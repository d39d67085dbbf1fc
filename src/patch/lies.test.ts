/**
 * Tables that lie: every word of a real image's table set to every value that is likely to go wrong. What is still taken must lie within its bounds,
 * looked at here once more and otherwise than in validate.ts.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from './image.ts'
import { readPatchImage } from './read.ts'

const fixture = (name: string): Uint8Array => Uint8Array.from(readFileSync(new URL(`./fixtures/${name}`, import.meta.url)))

/** What the table of both fixtures begins with: version 4, its size is the next word. */
function tableIn(file: Uint8Array): { at: number; size: number } {
  const view = new DataView(file.buffer)
  const image = readPatchImage(file)
  for (let at = 0; at + 16 <= file.length; at += 4) {
    const size = view.getUint32(at + 4, true)
    const isOne = view.getUint32(at, true) === image.table.version && view.getUint32(at + 8, true) === image.table.sequenceNumber
    if (isOne && size >= 64 && size % 4 === 0 && at + size <= file.length && changesTable(file, at + 8)) return { at, size }
  }
  throw new Error('no table in the fixture')
}

function changesTable(file: Uint8Array, at: number): boolean {
  const copy = file.slice()
  new DataView(copy.buffer).setUint32(at, 99, true)
  return !isTaken(copy)
}

function isTaken(file: Uint8Array): PatchImage | undefined {
  try {
    return readPatchImage(file)
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'DEFECT') return undefined
    throw error
  }
}

/** Bytes written by a record in the patch image. */
const WIDTHS: Readonly<Record<string, number>> = {
  ABSOLUTE: 8,
  INDIRECT: 8,
  REL32: 4,
  ABSOLUTE32: 4,
  OWN_ABSOLUTE32: 4,
  OWN_THREAD32: 4,
  OWN_THREAD_INDEX: 4,
}

function liesOf({ format, table, segments, manifest, threadLocal }: PatchImage): string[] {
  const lies: string[] = []
  const written = new Set<number>()
  const numbers = new Set<number>()
  const size = manifest.base.imageSize
  const inSegment = (rva: number, length: number, protection?: string): boolean =>
    segments.some((s) => rva >= s.rva && rva + length <= s.rva + s.size && (protection === undefined || s.protection === protection))
  for (const { type, inverse, records } of table.bases.flatMap(({ chunks }) => chunks))
    for (const { source, target } of records) {
      const width = WIDTHS[type]
      if (type === 'FUNCTION') {
        if (inverse || source === 0 || source + 4 > size) lies.push(`function at ${source}`)
        if (!inSegment(target, 1, 'rx')) lies.push(`function to ${target}`)
        if (!manifest.functions.some((f) => f.rva === source && f.patchRva === target)) lies.push(`function ${source} that nobody names`)
      } else if (width !== undefined) {
        if (!inverse || !inSegment(source, width)) lies.push(`${type} at ${source}`)
        if (!type.startsWith('OWN_') && target > size) lies.push(`${type} to ${target}`)
        const isIn = (v: { patchRva: number; size: number }): boolean => target >= v.patchRva && target <= v.patchRva + v.size
        const variables = manifest.added.filter(({ kind }) => kind === 'thread-local')
        if (type.startsWith('OWN_THREAD') && (threadLocal === undefined || !variables.some(isIn))) lies.push(`${type} to ${target}`)
        if (type === 'OWN_THREAD_INDEX' && format !== 'pe') lies.push(`${type} in ${format}`)
        // Several variables may be for one number, and nothing else.
        if (type === 'OWN_THREAD_INDEX' && numbers.has(source)) continue
        if (type === 'OWN_THREAD_INDEX') numbers.add(source)
        for (let i = 0; i < width; i++) {
          if (written.has(source + i)) lies.push(`${source + i} twice`)
          written.add(source + i)
        }
      }
    }
  return lies
}

describe.each(['gnu-ld.so', 'gnu-ld-threads.so', 'lld-link.dll', 'lld-link-threads.dll'])('the table of %s', (name) => {
  const file = fixture(name)
  const { at, size } = tableIn(file)

  test('as it is has no lies', () => {
    expect(liesOf(readPatchImage(file))).toEqual([])
  })

  test('with any word replaced: refused with a code, or within its bounds still', () => {
    const view = new DataView(file.buffer)
    let [taken, refused] = [0, 0]
    for (let offset = at; offset < at + size; offset += 4) {
      const word = view.getUint32(offset, true)
      const bits = [0, 1, 7, 8, 15, 16, 30, 31].map((bit) => (word ^ (1 << bit)) >>> 0)
      const values = [0, 1, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff, word + 1, word - 1, word + 4, word * 2, ...bits]
      for (const value of values) {
        const copy = file.slice()
        new DataView(copy.buffer).setUint32(offset, value >>> 0, true)
        const image = isTaken(copy)
        if (image === undefined) refused++
        else {
          taken++
          expect(liesOf(image), `word ${(offset - at) / 4} is 0x${(value >>> 0).toString(16)}`).toEqual([])
        }
      }
    }
    expect(refused).toBeGreaterThan(300)
    expect(taken).toBeGreaterThan(0)
  })
})
