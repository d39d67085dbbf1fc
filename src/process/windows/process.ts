import { HotpatchError } from '../../errors.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Handle } from '../../os/windows/library.ts'
import { errorName, lastError } from '../../os/windows/status.ts'
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
import type { PlaceRequest } from '../place.ts'
import { creationTime } from './creation-time.ts'
import { lockProcess } from './lock.ts'
import { mapSegments, unmapSegments } from './mappings.ts'
import { readMemory, writeMemory } from './memory.ts'
import { modulesOf } from './modules.ts'
import { CHANGE, LOOK, machineOf, openProcess } from './open.ts'
import { findPlace } from './places.ts'
import { regionsOf } from './regions.ts'
import { callRemote, callsInside } from './remote-call.ts'
import { searchMemory } from './search.ts'
import { processEntries } from './snapshot.ts'
import { switchCode } from './stop.ts'
import { hasEnded, type Target } from './target.ts'
import { threadsOf } from './threads.ts'
import { registerUnwind, unregisterUnwind } from './unwind.ts'
import { startWatchdog } from './watchdog.ts'

/** A process of Windows. Opened with the rights for looking; those for changing are asked for at the first change. */
export class WindowsProcess implements Process {
  readonly pid: number
  readonly name: string
  readonly machine: 'x64' | 'arm64'
  readonly incarnation: string
  /** For the backend's own parts and their tests: nothing outside this folder uses it. */
  readonly target: Target
  readonly #look: Handle
  #change: Handle | undefined

  /** Throws PROCESS_GONE, PERMISSION_DENIED, PROCESS_UNSUPPORTED. */
  constructor(pid: number) {
    this.pid = pid
    this.#look = openProcess(pid, LOOK)
    try {
      this.name = processEntries().find((entry) => entry.th32ProcessID === pid)?.szExeFile ?? ''
      this.machine = machineOf(this.#look, pid)
      const created = creationTime(this.#look)
      if (created === undefined)
        throw new HotpatchError('PROCESS_UNSUPPORTED', `the age of process ${pid} cannot be learned: ${errorName(lastError())}`)
      this.incarnation = `${created}`
      this.target = { pid, name: this.name, machine: this.machine, created, look: this.#look, change: () => this.#changeHandle() }
      // A process that has ended is still found as long as someone holds a handle to it.
      if (hasEnded(this.target)) throw new HotpatchError('PROCESS_GONE', `process ${pid} has ended`)
    } catch (error) {
      win32.CloseHandle(this.#look)
      throw error
    }
  }

  modules(): MappedModule[] {
    return modulesOf(this.target)
  }

  regions(): Region[] {
    return regionsOf(this.target)
  }

  threads(): ThreadSummary[] {
    return threadsOf(this.target)
  }

  read(address: bigint, length: number): Uint8Array {
    return readMemory(this.target, address, length)
  }

  write(address: bigint, bytes: Uint8Array): void {
    writeMemory(this.target, address, bytes)
  }

  findPlace(request: PlaceRequest): bigint | undefined {
    return findPlace(this.target, request)
  }

  map(request: MapRequest): void {
    mapSegments(this.target, request)
  }

  unmap(address: bigint, size: number): void {
    unmapSegments(this.target, address, size)
  }

  switchCode(request: SwitchRequest): SwitchOutcome {
    return switchCode(this.target, request)
  }

  lock(): () => void {
    const unlock = lockProcess(this.target, this.incarnation)
    // It needs a moment to come up, which what comes before a stop takes anyway. Between the first change and the stop there is too little of that.
    try {
      startWatchdog()
    } catch (error) {
      unlock()
      throw error
    }
    return unlock
  }

  call(...wanted: Parameters<CallInside>): bigint {
    return callRemote(this.target, ...wanted)
  }

  calls<T>(action: (call: CallInside) => T): T {
    return callsInside(this.target, action)
  }

  search(request: SearchRequest): SearchResult {
    return searchMemory(this.target, request)
  }

  registerUnwind(request: UnwindRequest): UnwindRegistration | undefined {
    return registerUnwind(this.target, request)
  }

  unregisterUnwind(registration: UnwindRegistration): void {
    unregisterUnwind(this.target, registration)
  }

  close(): void {
    win32.CloseHandle(this.#look)
    if (this.#change !== undefined) win32.CloseHandle(this.#change)
    this.#change = undefined
  }

  /** The process cannot have been replaced meanwhile: its id stays taken as long as #look is open. */
  #changeHandle(): Handle {
    this.#change ??= openProcess(this.pid, CHANGE)
    return this.#change
  }
}
