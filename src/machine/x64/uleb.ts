/** ULEB128 numbers (DWARF 5, section 7.6) read one after the other without an object for each. */
export class Uleb {
  /** Behind the number that was read last; -1: it does not end where it has to, or is longer than any that belongs into unwind data. */
  end = 0
  readonly #data: Uint8Array

  constructor(data: Uint8Array) {
    this.#data = data
  }

  /** The number at `at`, which ends before `limit`; 0 where it does not. */
  read(at: number, limit: number): number {
    const data = this.#data
    if (at < limit) {
      const first = data[at] as number
      if (first < 0x80) {
        this.end = at + 1
        return first
      }
    }
    let value = 0
    let scale = 1
    for (let i = at; i < limit && i < at + LONGEST; i++) {
      const byte = data[i] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        this.end = i + 1
        return value
      }
      scale *= 128
    }
    this.end = -1
    return 0
  }
}

const LONGEST = 5
