/**
 * Giving back the memory of patches that are in place no more. A mistake here would end the target, so memory goes only when all of this
 * holds, looked at while all threads stand still:
 *
 *     no frame of any stack lies in the image's code or in a stub of the region
 *     no register of any thread holds an address in the image or the region
 *     no memory that the target can have written holds one: stacks that no thread is on (coroutines), contexts, the heap
 *
 * and, since a pointer that is copied through a vector register is in neither for an instant, it must hold twice, the target having
 * run in between. What the kernel holds for a program (the handler of a signal, the data of an epoll event) nobody can look at: a patch
 * whose functions or variables the program can have handed on (manifest: escapes) is never unmapped.
 *
 * Unwinders that were told of the image keep its addresses, so they are told to forget it in between: once nothing leads into its code,
 * nobody can throw through it.
 *
 * A ledger goes when its image has gone, its stubs are nobody's way, and no ledger that still counts refers to it. Order of steps, for
 * an engine that is killed: unwindState unregistering, none; imageState unmapping, (unmap), unmapped; then the region with the ledger.
 */
import { HotpatchError } from '../errors.ts'
import { architectureOf } from '../machine/architectures.ts'
import type { AddressRange, Blocker, Process, Region, StoppedThreads } from '../process/contract.ts'
import { readAgain } from './find-ledgers.ts'
import { guardsFor } from './guards.ts'
import { isActive, isInterrupted, type Ledger, setImageState } from './ledger.ts'
import type { ImageState } from './ledger-format.ts'
import { imageIsOurs } from './memory-check.ts'
import { PAGE } from './pages.ts'
import type { Inspect } from './quiescence.ts'
import { hexAddress } from './sites.ts'
import { frameModulesOf } from './stacks/frame-modules.ts'
import { prepareInspection, STACK_BYTES } from './stacks/inspection.ts'
import type { SwitchReport } from './switch.ts'
import { unregister } from './unwind-state.ts'

/** Memory that was given back. */
export interface Reclaimed {
  /** Of the patch. */
  readonly id: string
  readonly address: string
  readonly size: number
}

/** What was given back after a switch, and what looking for it took. */
export interface ReclaimReport {
  readonly memory: readonly Reclaimed[]
  /** How often all threads were stopped to look at their registers and what they hold. */
  readonly stops: number
  readonly longestStopMicroseconds: number
}

export const NOTHING_RECLAIMED: ReclaimReport = { memory: [], stops: 0, longestStopMicroseconds: 0 }

/** So many patches before the one that is in place can be gone back to. */
export const KEPT_PREDECESSORS = 2
/** Looked through while the target stands still, bytes, and the most address space that is looked at for what is there. */
const SEARCH_LIMIT = 1 << 24
const SPACE_LIMIT = 1n << 32n
/** Before anything goes: see above. */
const LOOKS = 2
/** Patches that are looked at for one command. */
const AT_ONCE = 8
const STOP_TIMEOUT_MS = 200

type Known = readonly Pick<Ledger, 'address'>[]

/**
 * Takes away what can be taken away now; the rest is for the next command. Nothing is owed to whoever called: what fails is left as it
 * is. Throws PROCESS_GONE only. @param known every ledger of the process; it is read anew
 */
function reclaim(process: Process, known: Known): ReclaimReport {
  const { ledgers, damaged } = readAgain(process, known)
  if (damaged.length > 0 || ledgers.some(isInterrupted)) return NOTHING_RECLAIMED
  const retired = retiredOf(ledgers)
  if (retired.length === 0) return NOTHING_RECLAIMED
  const search = new Search(process, ledgers)
  const memory: Reclaimed[] = []
  const unheld = new Set<bigint>()
  for (const ledger of some(retired))
    attempt(() => {
      const others = ledgers.filter((other) => other !== ledger)
      const gone = reclaimImage(process, ledger, mayGoWithImage(ledger, others), search)
      if (gone === 'nothing') return
      memory.push({ id: ledger.names.id, address: hexAddress(ledger.image.address), size: ledger.image.size })
      if (gone === 'image, and nothing leads into the region') unheld.add(ledger.address)
    })
  attempt(() => memory.push(...reclaimRegions(process, ledgers, unheld, search)))
  const { stops, longestStopMicroseconds } = search
  return { memory, stops, longestStopMicroseconds }
}

/** After a switch: what did without a stop does without one for this, too, and leaves it to the next command. */
export const reclaimAfter = (process: Process, stop: SwitchReport | undefined, known: Known): ReclaimReport =>
  stop?.way === 'stores' ? NOTHING_RECLAIMED : reclaim(process, known)

function attempt(step: () => void): void {
  try {
    step()
  } catch (error) {
    if (!(error instanceof HotpatchError) || error.code === 'PROCESS_GONE') throw error
  }
}

/** At random, so that some that cannot go do not keep others from being looked at. */
function some(ledgers: readonly Ledger[]): Ledger[] {
  if (ledgers.length <= AT_ONCE) return [...ledgers]
  const first = Math.floor(Math.random() * ledgers.length)
  return [...ledgers, ...ledgers].slice(first, first + AT_ONCE)
}

/** Those that are in place no more and that nobody can go back to. */
export function retiredOf(ledgers: readonly Ledger[]): Ledger[] {
  const kept = new Set<bigint>()
  for (const standing of ledgers.filter(isActive)) {
    let before: Ledger | undefined = standing
    for (let depth = 0; depth <= KEPT_PREDECESSORS && before !== undefined; depth++) {
      const { address, predecessor }: Ledger = before
      kept.add(address)
      before = ledgers.find((other) => other.address === predecessor && other.successor === address && other.state === 'superseded')
    }
  }
  return ledgers.filter((ledger) => !isActive(ledger) && !kept.has(ledger.address))
}

type Gone = 'nothing' | 'image' | 'image, and nothing leads into the region'

/** @param withRegion its stubs are looked for, too: the target stands still twice for both, not twice for each */
function reclaimImage(process: Process, ledger: Ledger, withRegion: boolean, search: Search): Gone {
  const { names, imageState, unwindState } = ledger
  const [image, region] = [rangeOf(ledger.image), regionOf(ledger)]
  let gone: Gone = 'image'
  if (imageState === 'unmapped') return 'nothing'
  if (imageState === 'mapped') {
    if (names.escapes.code || names.escapes.data) return 'nothing'
    if (unwindState === 'registering' || unwindState === 'unregistering') return 'nothing'
    if (unwindState === 'registered') {
      if (!search.begin(ledger, codeOf(process, ledger))?.isUnheld(1)) return 'nothing'
      unregister(process, ledger)
    }
    const look = search.begin(ledger, [image])
    if (look === undefined) return 'nothing'
    if (withRegion && look.isUnheld(LOOKS, [region])) gone = 'image, and nothing leads into the region'
    else if (!look.isUnheld(LOOKS)) return 'nothing'
    setImageState(process, ledger, 'unmapping')
  }
  finishUnmapping(process, ledger, imageState)
  return gone
}

/** Its state says `unmapping`; `found` is what it said before this engine did anything. */
function finishUnmapping(process: Process, ledger: Ledger, found: ImageState): void {
  // An engine may have been killed after it was unmapped, and the target have mapped something of its own there.
  if (found === 'mapped' || imageIsOurs(process, ledger)) process.unmap(ledger.image.address, ledger.image.size)
  setImageState(process, ledger, 'unmapped')
}

/** What an engine that was cut off has begun to take away, before anything new is mapped. The ledgers as they are then. */
export function finishReclaiming(process: Process, ledgers: readonly Ledger[]): Ledger[] {
  return ledgers.map((ledger) => {
    if (ledger.imageState !== 'unmapping') return ledger
    finishUnmapping(process, ledger, 'unmapping')
    return { ...ledger, imageState: 'unmapped' }
  })
}

/** Ledgers without images that nobody needs. @param unheld addresses of those into which nothing leads */
function reclaimRegions(process: Process, known: Known, unheld: ReadonlySet<bigint>, search: Search): Reclaimed[] {
  const { ledgers } = readAgain(process, known)
  const needed = neededBy(ledgers)
  const gone: Reclaimed[] = []
  for (const ledger of some(retiredOf(ledgers).filter((l) => l.imageState === 'unmapped' && !needed.has(l.address))))
    attempt(() => {
      const region = { address: ledger.address, size: ledger.regionSize }
      const isFree = ledger.pairCount === 0 || unheld.has(ledger.address) || search.begin(ledger, [regionOf(ledger)])?.isUnheld(LOOKS)
      if (!isFree) return
      process.unmap(region.address, region.size)
      gone.push({ id: ledger.names.id, address: hexAddress(region.address), size: region.size })
    })
  return gone
}

/** Whether the region of a ledger that is retired has stubs, and nobody needs it once its image has gone. */
const mayGoWithImage = (ledger: Ledger, others: readonly Ledger[]): boolean => ledger.pairCount > 0 && !neededBy(others).has(ledger.address)

/** Ledgers that others refer to, and those themselves. */
const neededBy = (ledgers: readonly Ledger[]): Set<bigint> =>
  new Set(
    ledgers
      .filter(({ imageState, state }) => imageState === 'mapped' && state !== 'reverted')
      .flatMap((l) => [l.address, l.predecessor, l.successor, ...l.functions.map((f) => f.region)]),
  )

const rangeOf = ({ address, size }: { address: bigint; size: number }): AddressRange => ({ start: address, end: address + BigInt(size) })

const regionOf = ({ address, regionSize: size }: Ledger): AddressRange => rangeOf({ address, size })

/**
 * Where return addresses into the image's code can lie: behind its first byte, and before the last byte of its functions. Those two are
 * what unwinders keep of code that they were told of.
 */
function codeOf(process: Process, { image, segments, unwind }: Ledger): AddressRange[] {
  if (unwind?.kind === 'pdata' && unwind.count > 0) {
    const records = new DataView(process.read(unwind.address, unwind.count * RUNTIME_FUNCTION_BYTES).buffer)
    const [first, last] = [records.getUint32(0, true), records.getUint32((unwind.count - 1) * RUNTIME_FUNCTION_BYTES + 4, true)]
    return [{ start: unwind.imageBase + BigInt(first) + 1n, end: unwind.imageBase + BigInt(last) }]
  }
  return segments
    .filter(({ protection }) => protection === 'rx')
    .map(({ rva, size }) => ({ start: image.address + BigInt(rva) + 1n, end: image.address + BigInt(rva + size) }))
}

/** BeginAddress, EndAddress, UnwindData. */
const RUNTIME_FUNCTION_BYTES = 12

/** What leads into some memory: asked before the first stop, and then as often as it takes. */
interface Look {
  /** Whether nothing in the target leads into that memory, `also` or the ledger's code, at any of so many stops. */
  isUnheld(stops: number, also?: readonly AddressRange[]): boolean
}

/** Looks for what leads into memory, and counts what that costs the target. */
class Search {
  readonly #process: Process
  readonly #known: Known
  stops = 0
  longestStopMicroseconds = 0

  constructor(process: Process, known: Known) {
    this.#process = process
    this.#known = known
  }

  /** undefined: something leads into `ranges`, which most often can be known without a stop, or there is too much to look through. */
  begin(ledger: Ledger, ranges: readonly AddressRange[]): Look | undefined {
    const process = this.#process
    const regions = process.regions()
    if (regions.reduce((sum, { start, end }) => sum + (end - start), 0n) > SPACE_LIMIT) return undefined
    const { ledgers } = readAgain(process, this.#known)
    const ledgerPages = ledgers.map(({ address, pairsOffset }) => rangeOf({ address, size: pairsOffset }))
    const own = ledger.imageState === 'mapped' ? [rangeOf(ledger.image), regionOf(ledger)] : [regionOf(ledger)]
    const request = { except: [...ledgerPages, ...own], limit: SEARCH_LIMIT }
    if (process.search({ ranges, ...request }) !== 'nothing') return undefined
    const modules = frameModulesOf(process).of(regions)
    const { guards } = guardsFor(ledger, undefined)
    const inspection = prepareInspection(process, { instructions: [], frames: guards.frames }, { modules, regions })
    return {
      isUnheld: (stops, also = []) => {
        const all = [...ranges, ...also]
        const registers = new RegisterLook(process, all)
        const inspect = (stopped: StoppedThreads): Blocker | undefined => {
          const held = inspection.inspect(stopped)
          if (held !== undefined) return held
          const holder = registers.holder(stopped)
          if (holder < 0 && process.search({ ranges: all, ...request }) === 'nothing') return undefined
          const index = Math.max(holder, 0)
          return { threadId: stopped.id(index), instructionPointer: stopped.instructionPointer(index), guard: 0 }
        }
        for (let stop = 0; stop < stops; stop++) if (!this.#stop(inspect, regions)) return false
        return true
      },
    }
  }

  #stop(inspect: Inspect, regions: readonly Region[]): boolean {
    const stacks = { bytes: STACK_BYTES, regions }
    const { switched, stoppedMicroseconds } = this.#process.switchCode({ writes: [], stopTimeout: STOP_TIMEOUT_MS, stacks, inspect })
    this.stops++
    this.longestStopMicroseconds = Math.max(this.longestStopMicroseconds, stoppedMicroseconds)
    return switched
  }
}

/** Registers against ranges, widened to whole pages: a register may be on its way to an address a little further on. */
class RegisterLook {
  readonly #ranges: readonly { readonly start: number; readonly end: number }[]
  readonly #registers: Float64Array

  constructor({ machine }: Pick<Process, 'machine'>, ranges: readonly AddressRange[]) {
    this.#registers = new Float64Array(architectureOf(machine).unwinding.registerCount)
    this.#ranges = ranges.map(({ start, end }) => ({ start: Number(start) - PAGE, end: Number(end) + PAGE }))
  }

  /** Index of the first thread that has one in a register; -1: none has. */
  holder(stopped: StoppedThreads): number {
    for (let i = 0; i < stopped.count; i++) {
      stopped.registers(i, this.#registers)
      for (const value of this.#registers) for (const { start, end } of this.#ranges) if (value >= start && value < end) return i
    }
    return -1
  }
}
