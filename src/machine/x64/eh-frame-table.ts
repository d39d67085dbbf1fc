/**
 * A frame table of a whole .eh_frame, each function of which is compiled when a stack meets it, maybe in a stop. What compilers emit all the time is
 * understood here, without an object for every row; whatever else a record holds sends it the general way (cfa.ts).
 */
import { cfaRows, DW_CFA } from '../../binary/dwarf/cfa.ts'
import type { EhCie } from '../../binary/dwarf/eh-frame.ts'
import { HotpatchError } from '../../errors.ts'
import { type EhRecord, EhRecords } from './eh-frame-records.ts'
import { FrameKind, type FrameTable, RBP, RETURN_ADDRESS, type RowShape, RSP, TableBuilder, X64_ROWS } from './frames.ts'
import { type FunctionsByNeed, framesByNeed } from './frames-by-need.ts'
import { Uleb } from './uleb.ts'

/** Where the return address is, by the rules run so far. */
const ReturnAddress = { unknown: 0, known: 1, none: 2 } as const

/** What rows need to know, of a CIE's initial instructions and of the place reached in an FDE's. */
interface State {
  register: number
  offset: number
  /** Of the saved registers, in the builder. */
  set: number
  returnAddress: number
}

/**
 * The table of a section that lies at `sectionAddress`, with RVAs counted from `origin`. Where two functions overlap, the one that
 * begins later wins from there on. A record that contradicts itself is left out, and so is everything behind one that cannot be told from
 * its neighbours: code without unwind data is treated with more care, not less. Throws nothing.
 */
export function ehFrameTable(section: Uint8Array, sectionAddress: number, origin: number, registers = X64_REGISTERS): FrameTable {
  return framesByNeed(new EhFunctions(section, new EhRecords(section, sectionAddress, origin), registers), registers.shape)
}

/** What of a processor's registers the compiler has to know. */
export interface EhRegisters {
  readonly shape: RowShape
  readonly stackPointer: number
  readonly framePointer: number
  readonly returnAddress: number
  /** Calls put the return address on the stack, right below the CFA; else it is in a register like others. */
  readonly pushed: boolean
}

const X64_REGISTERS: EhRegisters = { shape: X64_ROWS, stackPointer: RSP, framePointer: RBP, returnAddress: RETURN_ADDRESS, pushed: true }

const DEPTH = 64

const stateAt = (returnAddress: number): State => ({ register: 0, offset: 0, set: 0, returnAddress })

class EhFunctions implements FunctionsByNeed {
  readonly #data: Uint8Array
  readonly #view: DataView
  readonly #records: EhRecords
  readonly #registers: EhRegisters
  readonly #uleb: Uleb
  readonly #state = stateAt(ReturnAddress.unknown)
  #rows = new TableBuilder()
  readonly #remembered = Array.from({ length: DEPTH }, () => stateAt(ReturnAddress.unknown))
  /** The states after the instructions of CIEs; undefined: their FDEs go the general way. */
  readonly #initial = new Map<EhCie, State | undefined>()

  constructor(section: Uint8Array, records: EhRecords, registers: EhRegisters) {
    this.#data = section
    this.#view = new DataView(section.buffer, section.byteOffset, section.byteLength)
    this.#records = records
    this.#registers = registers
    this.#uleb = new Uleb(section)
  }

  get count(): number {
    return this.#records.count
  }

  indexAt(rva: number): number {
    return this.#records.indexAt(rva)
  }

  append(index: number, rows: TableBuilder): void {
    const record = this.#records.at(index)
    const mark = rows.count
    this.#rows = rows
    if (this.#quickly(record)) return
    rows.truncate(mark)
    if (!this.#generally(record)) rows.truncate(mark)
  }

  /** false: what it has appended is not to stay. */
  #quickly({ begin, size, cie, from, to }: EhRecord): boolean {
    if (!this.#initial.has(cie)) this.#initial.set(cie, this.#initialOf(cie))
    const initial = this.#initial.get(cie)
    if (initial === undefined) return false
    copyState(initial, this.#state)
    return this.#instructions(from, to, cie, initial, begin, size)
  }

  #initialOf(cie: EhCie): State | undefined {
    if (cie.signalFrame) return undefined
    copyState(stateAt(this.#registers.pushed ? ReturnAddress.unknown : ReturnAddress.known), this.#state)
    const to = cie.offset + cie.size
    return this.#instructions(to - cie.initialInstructions.length, to, cie, undefined, 0, 0) ? { ...this.#state } : undefined
  }

  /** false: the record contradicts itself. */
  #generally({ begin, size, cie, from, to }: EhRecord): boolean {
    const { codeAlignment, dataAlignment, initialInstructions, signalFrame } = cie
    try {
      const rows = cfaRows({ codeAlignment, dataAlignment, initialInstructions, instructions: this.#data.subarray(from, to), size })
      this.#rows.appendRows({ start: begin, size, rows, signal: signalFrame }, begin + size)
      return true
    } catch (error) {
      if (error instanceof HotpatchError) return false
      throw error
    }
  }

  /**
   * Runs instructions on the state. Those of a function (`initial` is there) append a row for each place that they come to, the last one
   * too. false: something that only the general way understands, or that makes no sense.
   */
  #instructions(
    from: number,
    to: number,
    { codeAlignment, dataAlignment }: EhCie,
    initial: State | undefined,
    begin: number,
    size: number,
  ): boolean {
    const data = this.#data
    const view = this.#view
    const { returnAddress, pushed, shape } = this.#registers
    const state = this.#state
    let depth = 0
    let place = 0
    let at = from
    while (at < to) {
      const op = data[at++] as number
      const low = op & 0x3f
      let delta = -1
      switch (op & 0xc0) {
        case DW_CFA.advance_loc:
          delta = low
          break
        case DW_CFA.offset: {
          const factored = this.#uleb.read(at, to)
          if (this.#uleb.end < 0) return false
          at = this.#uleb.end
          if (!this.#save(low, factored * dataAlignment)) return false
          continue
        }
        case DW_CFA.restore:
          if (initial === undefined) return false
          if (low === returnAddress) state.returnAddress = initial.returnAddress
          if (low < shape.tracked) state.set = this.#rows.restored(state.set, low, initial.set)
          continue
        default:
          switch (op) {
            case DW_CFA.nop:
              continue
            case DW_CFA.advance_loc1:
              if (at + 1 > to) return false
              delta = data[at] as number
              at += 1
              break
            case DW_CFA.advance_loc2:
              if (at + 2 > to) return false
              delta = view.getUint16(at, true)
              at += 2
              break
            case DW_CFA.advance_loc4:
              if (at + 4 > to) return false
              delta = view.getUint32(at, true)
              at += 4
              break
            case DW_CFA.def_cfa:
              state.register = this.#uleb.read(at, to)
              if (this.#uleb.end < 0) return false
              state.offset = this.#uleb.read(this.#uleb.end, to)
              if (this.#uleb.end < 0) return false
              at = this.#uleb.end
              continue
            case DW_CFA.def_cfa_register:
              state.register = this.#uleb.read(at, to)
              if (this.#uleb.end < 0) return false
              at = this.#uleb.end
              continue
            case DW_CFA.def_cfa_offset:
              state.offset = this.#uleb.read(at, to)
              if (this.#uleb.end < 0) return false
              at = this.#uleb.end
              continue
            case DW_CFA.remember_state:
              if (depth === DEPTH) return false
              copyState(state, this.#remembered[depth++] as State)
              continue
            case DW_CFA.restore_state:
              if (depth === 0) return false
              copyState(this.#remembered[--depth] as State, state)
              continue
            case DW_CFA.undefined: {
              const register = this.#uleb.read(at, to)
              if (this.#uleb.end < 0 || (register < shape.tracked && register !== returnAddress)) return false
              at = this.#uleb.end
              if (register === returnAddress) state.returnAddress = ReturnAddress.none
              continue
            }
            case DW_CFA.offset_extended: {
              const register = this.#uleb.read(at, to)
              if (this.#uleb.end < 0) return false
              const factored = this.#uleb.read(this.#uleb.end, to)
              if (this.#uleb.end < 0 || !this.#save(register, factored * dataAlignment)) return false
              at = this.#uleb.end
              continue
            }
            case DW_CFA.AARCH64_negate_ra_state:
              // That the return address is signed changes nothing: signatures are taken off whatever is read.
              if (pushed) return false
              continue
            case DW_CFA.GNU_args_size:
              this.#uleb.read(at, to)
              if (this.#uleb.end < 0) return false
              at = this.#uleb.end
              continue
            default:
              return false
          }
      }
      if (initial === undefined) return false
      const next = place + delta * codeAlignment
      if (next > size) return false
      if (next === place) continue
      if (!this.#row(begin + place, begin + size)) return false
      place = next
    }
    return initial === undefined ? true : this.#row(begin + place, begin + size)
  }

  /** false: such a row is not a simple one. */
  #row(start: number, end: number): boolean {
    const { register, offset, set, returnAddress } = this.#state
    if (returnAddress === ReturnAddress.none) {
      if (start < end) this.#rows.append(start, FrameKind.end, 0, 0)
      return true
    }
    const { stackPointer, framePointer } = this.#registers
    if (returnAddress !== ReturnAddress.known || (register !== stackPointer && register !== framePointer) || set < 0) return false
    if (start < end) this.#rows.append(start, register === stackPointer ? FrameKind.rsp : FrameKind.rbp, offset, set)
    return true
  }

  #save(register: number, offset: number): boolean {
    const state = this.#state
    const { returnAddress, pushed, shape } = this.#registers
    if (register < shape.tracked) state.set = this.#rows.saved(state.set, register, offset)
    if (register !== returnAddress) return true
    if (pushed && offset !== -8) return false
    state.returnAddress = ReturnAddress.known
    return true
  }
}

function copyState(from: State, to: State): void {
  to.register = from.register
  to.offset = from.offset
  to.set = from.set
  to.returnAddress = from.returnAddress
}
