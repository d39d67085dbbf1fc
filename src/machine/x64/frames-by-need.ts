/** Frame tables of images with very many functions, of which a stack meets a few: each is compiled when it is first met. */
import { FrameKind, type FrameTable, type RowShape, TableBuilder, X64_ROWS } from './frames.ts'
import { rowBetween } from './row-search.ts'

/** Functions that can be asked for one by one. */
export interface FunctionsByNeed {
  readonly count: number
  /** The index of the function that `rva` lies in; -1: it is in none. */
  indexAt(rva: number): number
  /** Appends the function's rows, or none where nothing is known of its frame. Asked for each function once, when it is met; `rows` are those of the table, always the same. */
  append(index: number, rows: TableBuilder): void
}

/** Between the rows of two functions; begins behind all code, so that the next function's first row does not take its place. */
const BARRIER = 0xffff_ffff
const NOTHING = 0

export function framesByNeed(functions: FunctionsByNeed, shape: RowShape = X64_ROWS): FrameTable {
  return new TableByNeed(functions, shape)
}

class TableByNeed implements FrameTable {
  readonly #functions: FunctionsByNeed
  readonly #builder: TableBuilder
  #columns: TableBuilder['columns']
  /** Of each function the first of its rows and the last; NOTHING: it is not compiled yet. */
  readonly #first: Uint32Array
  readonly #last: Uint32Array

  constructor(functions: FunctionsByNeed, shape: RowShape) {
    this.#functions = functions
    this.#builder = new TableBuilder(shape)
    this.#builder.append(BARRIER, FrameKind.none, 0, 0)
    this.#columns = this.#builder.columns
    this.#first = new Uint32Array(functions.count)
    this.#last = new Uint32Array(functions.count)
  }

  get kinds() {
    return this.#columns.kinds
  }

  get operands() {
    return this.#columns.operands
  }

  get saved() {
    return this.#columns.saved
  }

  get savedSets() {
    return this.#columns.savedSets
  }

  get complex() {
    return this.#columns.complex
  }

  rowAt(rva: number): number {
    const index = this.#functions.indexAt(rva)
    if (index < 0) return NOTHING
    if (this.#last[index] === NOTHING) this.#compile(index)
    return rowBetween(this.#columns.starts, this.#first[index] as number, this.#last[index] as number, rva)
  }

  #compile(index: number): void {
    const builder = this.#builder
    const first = builder.count
    this.#functions.append(index, builder)
    if (builder.count === first) builder.append(0, FrameKind.none, 0, 0)
    this.#first[index] = first
    this.#last[index] = builder.count - 1
    builder.append(BARRIER, FrameKind.none, 0, 0)
    this.#columns = builder.columns
  }
}
