/** The address space of a process as VirtualQueryEx tells it. */
import { MEM, MEMORY_BASIC_INFORMATION, PAGE, PAGE_ACCESS } from '../../os/windows/definitions.ts'
import { win32 } from '../../os/windows/kernel32.ts'
import type { Target } from './target.ts'

/** Pages in a row that are alike. */
export interface Pages {
  readonly start: bigint
  readonly end: bigint
  readonly state: 'free' | 'reserved' | 'committed'
  readonly kind: 'private' | 'mapped' | 'image'
  /** The call that reserved them began here; 0 for free pages. */
  readonly allocation: bigint
  /** PAGE_*, with its modifiers; 0 unless committed. */
  readonly protection: number
}

/** undefined beyond the user part of the address space, or when the process has ended. */
export function queryPages(target: Target, address: bigint): Pages | undefined {
  const information = new Uint8Array(MEMORY_BASIC_INFORMATION.size)
  if (win32.VirtualQueryEx(target.look, address, information, information.length) === 0) return undefined
  const { BaseAddress, RegionSize, State, Type, AllocationBase, Protect } = MEMORY_BASIC_INFORMATION.readAt(information, 0)
  return {
    start: BaseAddress,
    end: BaseAddress + RegionSize,
    state: State === MEM.COMMIT ? 'committed' : State === MEM.FREE ? 'free' : 'reserved',
    kind: Type === MEM.IMAGE ? 'image' : Type === MEM.MAPPED ? 'mapped' : 'private',
    allocation: State === MEM.FREE ? 0n : AllocationBase,
    protection: State === MEM.COMMIT ? Protect : 0,
  }
}

/** All pages from `low` up to `high`, ascending, without holes. */
export function* walkPages(target: Target, low: bigint, high: bigint): Generator<Pages> {
  for (let address = low; address < high; ) {
    const pages = queryPages(target, address)
    if (pages === undefined || pages.end <= address) return
    yield pages
    address = pages.end
  }
}

const NOTHING = { read: false, write: false, execute: false }

/** A guard page counts as closed: touching it would take the mark away that the target's stack needs. */
export function accessOf(protection: number): { read: boolean; write: boolean; execute: boolean } {
  if (protection & PAGE.GUARD) return NOTHING
  return PAGE_ACCESS[protection & 0xff] ?? NOTHING
}
