/**
 * Decodes LZMA as the LZMA SDK's specification (lzma-specification.txt) has it. Nothing in the data is trusted: a distance that leads before the
 * start and a chunk that does not end where it says are refused.
 */
import { HotpatchError } from '../../errors.ts'

const STATES = 12
const FIRST_STATE_AFTER_MATCH = 7
const HALF = 1024
const TOP = 2 ** 24
const MOST_PROPERTIES = 9 * 5 * 5
const SHORTEST_MATCH = 2
/** Slots of distances: below, the distance itself; up to `LAST_MODELLED`, all further bits have probabilities. */
const FIRST_MODELLED = 4
const LAST_MODELLED = 14
const ALIGN_BITS = 4

const malformed = (what: string): HotpatchError => new HotpatchError('MALFORMED', `the compressed data are damaged: ${what}`)

const probabilities = (count: number): Uint16Array => new Uint16Array(count).fill(HALF)

/** Bits out of the range that the encoder has narrowed with each of them. */
class RangeDecoder {
  readonly #input: Uint8Array
  #at: number
  #range = 0xffffffff
  #code = 0

  constructor(input: Uint8Array) {
    this.#input = input
    if (input.length < 5 || input[0] !== 0) throw malformed('a chunk begins with no code')
    this.#at = 1
    for (let i = 0; i < 4; i++) this.#code = ((this.#code << 8) | this.#byte()) >>> 0
  }

  get isAtEnd(): boolean {
    return this.#at === this.#input.length && this.#code === 0
  }

  #byte(): number {
    const byte = this.#input[this.#at++]
    if (byte === undefined) throw malformed('a chunk ends too early')
    return byte
  }

  #normalize(): void {
    if (this.#range >= TOP) return
    this.#range = (this.#range << 8) >>> 0
    this.#code = ((this.#code << 8) | this.#byte()) >>> 0
  }

  bit(table: Uint16Array, index: number): 0 | 1 {
    const probability = table[index] as number
    const bound = (this.#range >>> 11) * probability
    const isZero = this.#code < bound
    if (isZero) {
      this.#range = bound
      table[index] = probability + ((2 * HALF - probability) >> 5)
    } else {
      this.#range -= bound
      this.#code -= bound
      table[index] = probability - (probability >> 5)
    }
    this.#normalize()
    return isZero ? 0 : 1
  }

  /** Bits that are as likely 0 as 1. */
  direct(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++) {
      this.#range >>>= 1
      const isZero = this.#code < this.#range
      if (!isZero) this.#code -= this.#range
      value = value * 2 + (isZero ? 0 : 1)
      this.#normalize()
    }
    return value
  }

  /** The highest bit first; `base`: where the tree begins in the table. */
  tree(table: Uint16Array, base: number, bits: number): number {
    let node = 1
    for (let i = 0; i < bits; i++) node = node * 2 + this.bit(table, base + node)
    return node - (1 << bits)
  }

  /** The lowest bit first. */
  reverseTree(table: Uint16Array, base: number, bits: number): number {
    let node = 1
    let value = 0
    for (let i = 0; i < bits; i++) {
      const bit = this.bit(table, base + node)
      node = node * 2 + bit
      value += bit << i
    }
    return value
  }
}

class LengthDecoder {
  readonly #choices = probabilities(2)
  readonly #low = probabilities(16 << 3)
  readonly #middle = probabilities(16 << 3)
  readonly #high = probabilities(256)

  /** From 2. */
  decode(range: RangeDecoder, position: number): number {
    if (range.bit(this.#choices, 0) === 0) return SHORTEST_MATCH + range.tree(this.#low, position << 3, 3)
    if (range.bit(this.#choices, 1) === 0) return SHORTEST_MATCH + 8 + range.tree(this.#middle, position << 3, 3)
    return SHORTEST_MATCH + 16 + range.tree(this.#high, 0, 8)
  }
}

/** What is learnt from chunk to chunk, until one resets it. */
export class LzmaDecoder {
  readonly #literalBits: number
  readonly #literalMask: number
  readonly #positionMask: number
  readonly #isMatch = probabilities(STATES << 4)
  readonly #isRepeat = probabilities(STATES)
  readonly #isRepeat0 = probabilities(STATES)
  readonly #isRepeat0Long = probabilities(STATES << 4)
  readonly #isRepeat1 = probabilities(STATES)
  readonly #isRepeat2 = probabilities(STATES)
  readonly #slots = probabilities(4 << 6)
  readonly #distances = probabilities(1 + 128 - LAST_MODELLED)
  readonly #align = probabilities(1 << ALIGN_BITS)
  readonly #lengths = new LengthDecoder()
  readonly #repeatLengths = new LengthDecoder()
  readonly #literals: Uint16Array
  /** The last distances, less one. */
  #repeats: [number, number, number, number] = [0, 0, 0, 0]
  #state = 0

  /** @param properties (pb * 5 + lp) * 9 + lc. Throws MALFORMED. */
  constructor(properties: number) {
    const literalContext = properties % 9
    const literalPosition = Math.floor(properties / 9) % 5
    if (properties >= MOST_PROPERTIES || literalContext + literalPosition > 4) throw malformed(`properties ${properties}`)
    this.#literalBits = literalContext
    this.#literalMask = (1 << literalPosition) - 1
    this.#positionMask = (1 << Math.floor(properties / 45)) - 1
    this.#literals = probabilities(0x300 << (literalContext + literalPosition))
  }

  /**
   * Writes `output` from `at` to `end`, its whole chunk. `start`: of the dictionary, before which no distance leads. Throws MALFORMED.
   */
  decode(chunk: Uint8Array, output: Uint8Array, start: number, at: number, end: number): void {
    const range = new RangeDecoder(chunk)
    for (let position = at; position < end; ) {
      const inUnit = (position - start) & this.#positionMask
      if (range.bit(this.#isMatch, (this.#state << 4) + inUnit) === 0) {
        output[position] = this.#literal(range, output, start, position)
        position += 1
        continue
      }
      const length = this.#match(range, inUnit)
      const distance = this.#repeats[0] + 1
      if (distance > position - start) throw malformed('a distance leads before the start')
      if (length > end - position) throw malformed('a match goes beyond its chunk')
      for (let i = 0; i < length; i++, position++) output[position] = output[position - distance] as number
    }
    if (!range.isAtEnd) throw malformed('a chunk is longer than what it holds')
  }

  #literal(range: RangeDecoder, output: Uint8Array, start: number, position: number): number {
    const before = position > start ? (output[position - 1] as number) : 0
    const context = (((position - start) & this.#literalMask) << this.#literalBits) + (before >> (8 - this.#literalBits))
    const base = 0x300 * context
    let symbol = 1
    if (this.#state >= FIRST_STATE_AFTER_MATCH) {
      const distance = this.#repeats[0] + 1
      if (distance > position - start) throw malformed('a distance leads before the start')
      let matched = output[position - distance] as number
      while (symbol < 0x100) {
        const expected = (matched >> 7) & 1
        matched <<= 1
        const bit = range.bit(this.#literals, base + ((1 + expected) << 8) + symbol)
        symbol = symbol * 2 + bit
        if (bit !== expected) break
      }
    }
    while (symbol < 0x100) symbol = symbol * 2 + range.bit(this.#literals, base + symbol)
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6
    return symbol & 0xff
  }

  /** The match's length; its distance is the first of the last ones then. */
  #match(range: RangeDecoder, inUnit: number): number {
    const state = this.#state
    const isAfterLiteral = state < FIRST_STATE_AFTER_MATCH
    if (range.bit(this.#isRepeat, state) === 0) {
      const length = this.#lengths.decode(range, inUnit)
      const [first, second, third] = this.#repeats
      this.#repeats = [this.#distance(range, length), first, second, third]
      this.#state = isAfterLiteral ? 7 : 10
      return length
    }
    if (range.bit(this.#isRepeat0, state) === 0) {
      if (range.bit(this.#isRepeat0Long, (state << 4) + inUnit) === 0) {
        this.#state = isAfterLiteral ? 9 : 11
        return 1
      }
    } else {
      const [first, second, third, fourth] = this.#repeats
      if (range.bit(this.#isRepeat1, state) === 0) this.#repeats = [second, first, third, fourth]
      else if (range.bit(this.#isRepeat2, state) === 0) this.#repeats = [third, first, second, fourth]
      else this.#repeats = [fourth, first, second, third]
    }
    this.#state = isAfterLiteral ? 8 : 11
    return this.#repeatLengths.decode(range, inUnit)
  }

  #distance(range: RangeDecoder, length: number): number {
    const slot = range.tree(this.#slots, Math.min(length - SHORTEST_MATCH, 3) << 6, 6)
    if (slot < FIRST_MODELLED) return slot
    const bits = (slot >> 1) - 1
    const high = (2 + (slot & 1)) * 2 ** bits
    if (slot < LAST_MODELLED) return high + range.reverseTree(this.#distances, high - slot, bits)
    return high + range.direct(bits - ALIGN_BITS) * 2 ** ALIGN_BITS + range.reverseTree(this.#align, 0, ALIGN_BITS)
  }
}
