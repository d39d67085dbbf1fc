import { HotpatchError } from '../../errors.ts'
import { AT } from '../../os/linux/definitions.ts'
import { ADDRESS_END } from '../../os/linux/syscalls.ts'
import type {
  CallInside,
  MappedModule,
  MapRequest,
  Process,
  Region,
  SearchRequest,
  SearchResult,
  SwitchOutcome,
  SwitchRequest,
  ThreadSummary,
  UnwindRegistration,
  UnwindRequest,
} from '../contract.ts'
import { findFreePlace, type PlaceRequest } from '../place.ts'
import type { Target } from './borrow.ts'
import { callsInside } from './call.ts'
import { CodeSearch } from './gadgets.ts'
import { lockProcess } from './lock.ts'
import { mapInto, unmapFrom } from './mapping.ts'
import { Memory } from './memory.ts'
import { findModules } from './modules.ts'
import { identify, machineOf, noProgram, permissionDenied, refusePages, refuseTraced } from './open.ts'
import { auxiliaryValue, inProcessFolder, type Mapping, numbersIn, parseMaps, parseStat, readProc, readProcBytes } from './proc.ts'
import { searchMemory } from './search.ts'
import { switchCode } from './stop.ts'
import { registerFrames, unregisterFrames } from './unwind.ts'

const PAGE = 0x1000n
const SPACE = { granularity: PAGE, lowest: 0x10000n, highest: ADDRESS_END - PAGE }
/** Bytes kept free where the heap and the main stack grow, as long as there is another place. */
const ROOM_TO_GROW = 1n << 28n

/** A live process of this machine. */
export class LinuxProcess implements Process {
  readonly pid: number
  readonly name: string
  readonly machine: 'x64' | 'arm64'
  readonly incarnation: string
  readonly #folder: string
  readonly #memory: Memory
  readonly #code: CodeSearch
  readonly #programHeaders: bigint | undefined

  constructor(pid: number) {
    const { stat } = identify(pid)
    this.pid = pid
    this.name = stat.name
    this.incarnation = stat.startTime
    this.#folder = `/proc/${pid}`
    this.#memory = this.#withPermission('opened', () => new Memory(pid))
    this.#code = new CodeSearch(this.#memory)
    try {
      refuseTraced(pid, `${this.#folder}/status`)
      const auxv = this.#withPermission('read', () => inProcessFolder(pid, (folder) => readProcBytes(`${folder}/auxv`)))
      refusePages(pid, auxv)
      this.#programHeaders = auxv === undefined ? undefined : auxiliaryValue(auxv, AT.PHDR)
      const main = this.modules()[0]
      if (main === undefined) throw noProgram(pid, this.#memory, this.#maps())
      this.machine = machineOf(pid, this.#memory, main.base)
    } catch (error) {
      this.#memory.close()
      throw error
    }
  }

  modules(): MappedModule[] {
    return findModules(this.#maps(), (address, length) => this.#memory.tryRead(address, length), this.#programHeaders)
  }

  regions(): Region[] {
    return this.#maps().map(({ start, end, read, write, execute, name }) => ({ start, end, read, write, execute, name }))
  }

  threads(): ThreadSummary[] {
    const threads: ThreadSummary[] = []
    for (const id of numbersIn(`${this.#folder}/task`)) {
      const name = readProc(`${this.#folder}/task/${id}/comm`)
      if (name !== undefined) threads.push({ id, name: name.replace(/\n$/, '') })
    }
    if (threads.length === 0) throw new HotpatchError('PROCESS_GONE', `process ${this.pid} has ended`)
    return threads
  }

  read(address: bigint, length: number): Uint8Array {
    return this.#memory.read(address, length)
  }

  write(address: bigint, bytes: Uint8Array): void {
    const within = Number(address & 7n)
    const [wide, aligned] = [bytes.length === 2 || bytes.length === 4, Number(address) % bytes.length === 0]
    if (!wide || !aligned || this.#isWritable(address)) {
      this.#memory.write(address, bytes)
      return
    }
    // See Memory: only a whole word is certain to be one store.
    const word = this.#memory.read(address - BigInt(within), 8)
    word.set(bytes, within)
    this.#memory.write(address - BigInt(within), word)
  }

  findPlace(request: PlaceRequest): bigint | undefined {
    const maps = this.#maps()
    const growing: Region[] = [...maps]
    const none = { read: false, write: false, execute: false, name: '' }
    const heap = parseStat(readProc(`${this.#folder}/stat`) ?? '')?.startBrk ?? 0n
    if (heap !== 0n) {
      const end = maps.find((mapping) => mapping.name === '[heap]')?.end ?? heap
      growing.push({ start: end, end: end + ROOM_TO_GROW, ...none })
    }
    const stack = maps.find((mapping) => mapping.name === '[stack]')
    if (stack !== undefined) growing.push({ start: stack.start - ROOM_TO_GROW, end: stack.start, ...none })
    growing.sort((a, b) => (a.start < b.start ? -1 : 1))
    return findFreePlace(growing, request, SPACE) ?? findFreePlace(maps, request, SPACE)
  }

  map(request: MapRequest): void {
    mapInto(this.#target(), request)
  }

  unmap(address: bigint, size: number): void {
    unmapFrom(this.#target(), address, size)
  }

  switchCode(request: SwitchRequest): SwitchOutcome {
    return switchCode(this.pid, this.#memory, request)
  }

  lock(): () => void {
    return lockProcess(this.pid, this.incarnation)
  }

  call(...wanted: Parameters<CallInside>): bigint {
    return this.calls((call) => call(...wanted))
  }

  calls<T>(action: (call: CallInside) => T): T {
    return callsInside(this.#target(), (request) => this.findPlace(request), action)
  }

  search(request: SearchRequest): SearchResult {
    return searchMemory(this.pid, this.#maps(), this.#memory, request)
  }

  registerUnwind(request: UnwindRequest): UnwindRegistration | undefined {
    return registerFrames(this.#target(), this.modules(), request)
  }

  unregisterUnwind(registration: UnwindRegistration): void {
    unregisterFrames(this.#target(), this.modules(), registration)
  }

  close(): void {
    this.#memory.close()
  }

  #target(): Target {
    return { pid: this.pid, memory: this.#memory, code: this.#code, maps: () => this.#maps() }
  }

  /** Throws PROCESS_GONE: a process that has ended maps nothing, a zombie neither. */
  #maps(): Mapping[] {
    const text = this.#withPermission('read', () => inProcessFolder(this.pid, (folder) => readProc(`${folder}/maps`)))
    if (text === undefined || text === '') throw new HotpatchError('PROCESS_GONE', `process ${this.pid} has ended`)
    return parseMaps(text)
  }

  #isWritable(address: bigint): boolean {
    return this.#maps().some((mapping) => mapping.start <= address && address < mapping.end && mapping.write)
  }

  #withPermission<T>(doing: string, action: () => T): T {
    try {
      return action()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ESRCH') throw new HotpatchError('PROCESS_GONE', `there is no process ${this.pid}`)
      if (code === 'EACCES' || code === 'EPERM') throw permissionDenied(this.pid, doing, error)
      throw error
    }
  }
}
