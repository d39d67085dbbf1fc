/**
 * The functions that a whole .eh_frame describes, found without a look at what it says of them: a large program has a hundred thousand, a stack meets a
 * few, and someone waits.
 */
import { type EhCie, readEhFrame } from '../../binary/dwarf/eh-frame.ts'
import { DW_EH_PE } from '../../binary/dwarf/pointers.ts'
import { HotpatchError } from '../../errors.ts'
import { RowSearch } from './row-search.ts'
import { Uleb } from './uleb.ts'

/** The instructions of a function are those of its CIE, then its own: bytes of the section. */
export interface EhRecord {
  /** RVA. */
  readonly begin: number
  /** Bytes. */
  readonly size: number
  readonly cie: EhCie
  readonly from: number
  readonly to: number
}

/** Records by begin and number in one number that is exact: a begin has 32 bits. Records beyond are left out. */
const NUMBERS = 2 ** 21

export class EhRecords {
  readonly #data: Uint8Array
  readonly #view: DataView
  readonly #uleb: Uleb
  readonly #address: number
  readonly #origin: number
  readonly #begins: Uint32Array
  readonly #sizes: Float64Array
  readonly #from: Uint32Array
  readonly #to: Uint32Array
  readonly #cies: EhCie[] = []
  /** By ascending begin: begins again, and the records' numbers. */
  readonly #starts: Uint32Array
  readonly #numbers: Uint32Array
  readonly #search: RowSearch

  /**
   * Of a section that lies at `address`; RVAs count from `origin`. A record that contradicts itself is left out, and so is everything behind one that cannot
   * be told from its neighbours. Throws nothing.
   */
  constructor(section: Uint8Array, address: number, origin: number) {
    this.#data = section
    this.#view = new DataView(section.buffer, section.byteOffset, section.byteLength)
    this.#uleb = new Uleb(section)
    this.#address = address
    this.#origin = origin
    // The shortest FDE: length, CIE pointer, begin and size of 4 bytes each.
    const most = Math.min(Math.floor(section.length / 16) + 1, NUMBERS)
    this.#begins = new Uint32Array(most)
    this.#sizes = new Float64Array(most)
    this.#from = new Uint32Array(most)
    this.#to = new Uint32Array(most)
    const count = this.#cut(most)
    const keys = Float64Array.from({ length: count }, (_, number) => (this.#begins[number] as number) * NUMBERS + number).sort()
    this.#numbers = Uint32Array.from(keys, (key) => key % NUMBERS)
    this.#starts = this.#numbers.map((number) => this.#begins[number] as number)
    this.#search = new RowSearch(this.#starts)
  }

  get count(): number {
    return this.#starts.length
  }

  /** The record at `index`; by ascending begin. */
  at(index: number): EhRecord {
    const number = this.#numbers[index] as number
    return {
      begin: this.#begins[number] as number,
      size: this.#sizes[number] as number,
      cie: this.#cies[number] as EhCie,
      from: this.#from[number] as number,
      to: this.#to[number] as number,
    }
  }

  /** The index of the record whose code `rva` lies in; -1: it is in none. Where two overlap, the one that begins later has it from there on. */
  indexAt(rva: number): number {
    const index = this.#search.indexAt(rva)
    const start = this.#starts[index]
    return start !== undefined && rva >= start && rva < start + (this.#sizes[this.#numbers[index] as number] as number) ? index : -1
  }

  /** Notes up to `most` records; gives how many there are. */
  #cut(most: number): number {
    const data = this.#data
    const view = this.#view
    const cies = new Map<number, EhCie | undefined>()
    let count = 0
    for (let at = 0; at + 8 <= data.length && count < most; ) {
      const length = view.getUint32(at, true)
      const end = at + 4 + length
      if (length < 4 || end > data.length) break
      const pointer = view.getUint32(at + 4, true)
      if (pointer === 0) cies.set(at, cieOf(data, at, end))
      else {
        if (!cies.has(at + 4 - pointer)) break
        const cie = cies.get(at + 4 - pointer)
        if (cie !== undefined && this.#note(count, cie, at + 8, end)) count++
      }
      at = end
    }
    return count
  }

  /** Notes the FDE whose fields begin at `at`; false: they cannot be understood. */
  #note(number: number, cie: EhCie, at: number, end: number): boolean {
    const { fdeEncoding, augmentation } = cie
    const format = fdeEncoding & 0x0f
    const width = WIDTHS[format]
    if (width === undefined || at + 2 * width > end) return false
    const value = this.#integer(at, format)
    let begin: number
    if ((fdeEncoding & 0xf0) === DW_EH_PE.pcrel) begin = value + this.#address + at - this.#origin
    else if ((fdeEncoding & 0xf0) === DW_EH_PE.absptr) begin = value - this.#origin
    else return false
    const size = this.#integer(at + width, format)
    let from = at + 2 * width
    if (augmentation !== '') {
      const length = this.#uleb.read(from, end)
      const behind = this.#uleb.end + length
      if (this.#uleb.end < 0 || behind > end) return false
      from = behind
    }
    if (value === 0 || begin < 0 || !(size > 0) || size > 0xffffffff || begin + size > 0xffffffff) return false
    this.#begins[number] = begin
    this.#sizes[number] = size
    this.#from[number] = from
    this.#to[number] = end
    this.#cies[number] = cie
    return true
  }

  #integer(at: number, format: number): number {
    const view = this.#view
    switch (format) {
      case DW_EH_PE.udata2:
        return view.getUint16(at, true)
      case DW_EH_PE.sdata2:
        return view.getInt16(at, true)
      case DW_EH_PE.udata4:
        return view.getUint32(at, true)
      case DW_EH_PE.sdata4:
        return view.getInt32(at, true)
      case DW_EH_PE.sdata8:
        return view.getUint32(at, true) + view.getInt32(at + 4, true) * 2 ** 32
      default:
        return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
    }
  }
}

/** undefined: it contradicts itself, and so its FDEs are left out. */
function cieOf(section: Uint8Array, offset: number, end: number): EhCie | undefined {
  try {
    const [cie] = readEhFrame(section.subarray(offset, end))
    return cie?.kind === 'cie' ? { ...cie, offset } : undefined
  } catch (error) {
    if (error instanceof HotpatchError) return undefined
    throw error
  }
}

const WIDTHS: Readonly<Record<number, number>> = {
  [DW_EH_PE.absptr]: 8,
  [DW_EH_PE.udata2]: 2,
  [DW_EH_PE.udata4]: 4,
  [DW_EH_PE.udata8]: 8,
  [DW_EH_PE.sdata2]: 2,
  [DW_EH_PE.sdata4]: 4,
  [DW_EH_PE.sdata8]: 8,
}
