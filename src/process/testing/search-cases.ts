/** Looking for addresses in everything that the target can have written. */
import assert from 'node:assert/strict'
import type { Process, SearchResult } from '../contract.ts'
import type { ConformanceCase } from './case.ts'
import type { StartedTarget } from './target.ts'
import { TARGET_DATA } from './target.ts'

const LIMIT = 1 << 28
const SIZE = 0x3000n

/** Memory whose address nobody knows. Wine keeps that of a mapping's start in the process itself. */
function bring(process: Process): { start: bigint; end: bigint } {
  const place = process.findPlace({ size: Number(SIZE), near: 0x6123_4567_0000n, low: 0n, high: 1n << 47n })
  assert.ok(place !== undefined)
  const segments = [{ offset: 0, size: Number(SIZE), protection: 'rx', content: Uint8Array.of(0xc3) }] as const
  process.map({ address: place, name: 'hotpatch:searched', segments })
  return { start: place + 0x40n, end: place + SIZE }
}

const little = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

/** What is found while `value` stands at `at`. */
function withValue(process: Process, at: bigint, value: bigint, search: () => SearchResult): SearchResult {
  const before = process.read(at, 8)
  process.write(at, little(value))
  try {
    return search()
  } finally {
    process.write(at, before)
  }
}

const dataOf = ({ symbols }: StartedTarget): bigint => symbols.data

export const SEARCH_CASES: readonly ConformanceCase[] = [
  {
    name: 'search: finds what points to the range, wherever in a word it stands, and nothing else',
    async run({ process, target }) {
      const range = bring(process)
      const search = () => process.search({ ranges: [range], except: [], limit: LIMIT })
      assert.equal(search(), 'nothing')
      const data = dataOf(target)
      assert.deepEqual(withValue(process, data, range.start, search), { found: data })
      assert.deepEqual(withValue(process, data, range.end - 1n, search), { found: data })
      assert.deepEqual(withValue(process, data, (0xbeefn << 48n) | (range.start + 0x123n), search), { found: data })
      assert.deepEqual(withValue(process, data, (range.start + 8n) << 8n, search), { found: data + 1n })
      assert.equal(withValue(process, data, range.end, search), 'nothing')
      assert.equal(withValue(process, data, range.start - 1n, search), 'nothing')
      const bytes = process.read(data, 8)
      assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true), TARGET_DATA)
      process.unmap(range.end - SIZE, Number(SIZE))
    },
  },
  {
    name: 'search: not in what is excepted, and not beyond the limit',
    async run({ process, target }) {
      const range = bring(process)
      const data = dataOf(target)
      const around = { start: data - 8n, end: data + 8n }
      const search = (limit: number) => () => process.search({ ranges: [range], except: [around], limit })
      assert.equal(withValue(process, data, range.start, search(LIMIT)), 'nothing')
      assert.equal(search(100)(), 'too-much')
    },
  },
  {
    name: 'search: while all threads stand still',
    async run({ process, target, control }) {
      await control.setWorkers(3)
      const range = bring(process)
      const results: SearchResult[] = []
      const look = () =>
        process.switchCode({
          writes: [],
          stopTimeout: 5000,
          inspect() {
            results.push(process.search({ ranges: [range], except: [], limit: LIMIT }))
            return undefined
          },
        })
      look()
      withValue(process, dataOf(target), range.start + 0x1000n, () => {
        look()
        return 'nothing'
      })
      assert.deepEqual(results, ['nothing', { found: dataOf(target) }])
    },
  },
]
