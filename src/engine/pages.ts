/** Memory by pages. */
import { HotpatchError } from '../errors.ts'
import type { Process } from '../process/contract.ts'

/** The smallest page of every processor and system here; a hotpatch address table is counted in it whatever the system's page is. */
export const PAGE = 4096

/** What the names of hotpatch's mappings begin with, where the system names mappings. */
export const MAPPING_NAME = 'hotpatch:'

/** Of the hotpatch address table. */
export const STUB_SIZE = 8
export const STUBS_PER_PAGE = PAGE / STUB_SIZE

export const pageUp = (size: number): number => Math.ceil(size / PAGE) * PAGE

/** Empty where the memory is not mapped, or nobody may read it (a guard page, a device). */
export function readOrNothing(process: Process, address: bigint, length: number): Uint8Array {
  try {
    return process.read(address, length)
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'MEMORY_UNREADABLE') return new Uint8Array()
    throw error
  }
}
