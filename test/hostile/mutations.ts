/** Damage to bytes, from a seed: the same seed always does the same damage, so a crasher is a sample, a seed and nothing else. */

/** Numbers that lie at the edges of what fields can hold. */
const INTERESTING = [
  0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff,
]

/** xorshift128+ of 32-bit words: quick, and good enough to choose places with. */
export class Random {
  private a: number
  private b: number

  constructor(seed: number) {
    this.a = (seed ^ 0x9e3779b9) >>> 0 || 1
    this.b = Math.imul(seed + 1, 0x85ebca6b) >>> 0 || 2
    for (let i = 0; i < 8; i++) this.next()
  }

  /** 0 to 2^32 - 1. */
  next(): number {
    let x = this.a
    const y = this.b
    this.a = y
    x ^= x << 23
    x ^= x >>> 17
    x ^= y ^ (y >>> 26)
    this.b = x >>> 0
    return (this.b + y) >>> 0
  }

  below(limit: number): number {
    return limit <= 0 ? 0 : this.next() % limit
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
}

type Damage = (bytes: Uint8Array, random: Random) => Uint8Array

const inPlace =
  (change: (bytes: Uint8Array, view: DataView, random: Random) => void): Damage =>
  (bytes, random) => {
    if (bytes.length >= 8) change(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), random)
    return bytes
  }

/** Headers and tables at the beginning get half of all damage: behind them there is mostly code, which few readers look at. */
const place = (bytes: Uint8Array, random: Random): number =>
  random.below(random.below(2) === 0 ? Math.min(bytes.length, 1024) : bytes.length)

const DAMAGES: readonly Damage[] = [
  inPlace((bytes, _view, random) => {
    const at = place(bytes, random)
    bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
  }),
  inPlace((bytes, _view, random) => {
    bytes[place(bytes, random)] = random.next()
  }),
  inPlace((bytes, view, random) => {
    view.setUint32(Math.min(place(bytes, random) & ~3, bytes.length - 4), random.pick(INTERESTING), true)
  }),
  inPlace((bytes, view, random) => {
    view.setUint16(Math.min(place(bytes, random) & ~1, bytes.length - 2), random.pick(INTERESTING), true)
  }),
  inPlace((bytes, view, random) => {
    const at = Math.min(place(bytes, random) & ~7, bytes.length - 8)
    view.setBigUint64(at, BigInt(random.pick(INTERESTING)) << BigInt(random.pick([0, 0, 16, 32])), true)
  }),
  // Off by a little: counts, offsets and sizes that nearly fit.
  inPlace((bytes, view, random) => {
    const at = Math.min(place(bytes, random) & ~3, bytes.length - 4)
    view.setUint32(at, (view.getUint32(at, true) + random.below(33) - 16) >>> 0, true)
  }),
  // A piece of the file over another.
  inPlace((bytes, _view, random) => {
    const length = 1 + random.below(64)
    const from = random.below(Math.max(1, bytes.length - length))
    bytes.copyWithin(place(bytes, random), from, from + length)
  }),
  inPlace((bytes, _view, random) => {
    const at = place(bytes, random)
    bytes.fill(random.pick([0, 0xff]), at, at + 1 + random.below(64))
  }),
  // Cut off.
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
]

/** A damaged copy of `sample`. */
export function mutate(sample: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = sample.slice()
  const count = 1 + random.below(random.pick([1, 3, 8]))
  for (let i = 0; i < count; i++) bytes = random.pick(DAMAGES)(bytes, random)
  return bytes
}
