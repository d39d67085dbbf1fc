/** Where a loaded module's unwind data lies: the program headers lead to .eh_frame_hdr, and that to .eh_frame. */
import { DW_EH_PE } from '../dwarf/pointers.ts'
import { i32, struct, u8 } from '../struct.ts'
import { PT } from './definitions.ts'
import type { ElfMemoryImage } from './memory.ts'

/** The fixed part of .eh_frame_hdr, as far as it is needed here (LSB, "The .eh_frame_hdr section"). */
const Header = struct('.eh_frame_hdr', { version: u8, eh_frame_ptr_enc: u8, fde_count_enc: u8, table_enc: u8, eh_frame_ptr: i32 })

export interface EhFrameInMemory {
  /** In the process. */
  readonly address: bigint
  /** From the section's start to the end of its segment: what lies behind the section's terminator is something else. */
  readonly data: Uint8Array
}

/** undefined: the module announces none, or in a form that no linker writes. Throws TRUNCATED, and what reading memory throws. */
export function ehFrameInMemory({ segments, bias, space }: ElfMemoryImage): EhFrameInMemory | undefined {
  const announced = segments.find(({ type }) => type === PT.GNU_EH_FRAME)
  if (announced === undefined) return undefined
  const { version, eh_frame_ptr_enc, eh_frame_ptr } = Header.readAt(space.at(announced.vaddr, Header.size, '.eh_frame_hdr'), 0)
  if (version !== 1 || eh_frame_ptr_enc !== (DW_EH_PE.pcrel | DW_EH_PE.sdata4)) return undefined
  const address = announced.vaddr + BigInt(Header.offsets.eh_frame_ptr + eh_frame_ptr)
  const holder = segments.find(({ type, vaddr, filesz }) => type === PT.LOAD && vaddr <= address && address < vaddr + BigInt(filesz))
  if (holder === undefined) return undefined
  const length = Number(holder.vaddr + BigInt(holder.filesz) - address)
  return { address: address + bias, data: space.at(address, length, '.eh_frame') }
}
