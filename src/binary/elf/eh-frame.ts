/**
 * Where a loaded module's unwind data lies. The program headers lead to .eh_frame_hdr, and that to .eh_frame. Static programs of the GNU
 * toolchain have no such header: their start-up code knows the section, and here it is looked for by what it begins with.
 */
import { HotpatchError } from '../../errors.ts'
import { readEhFrame } from '../dwarf/eh-frame.ts'
import { DW_EH_PE, pointerAddress } from '../dwarf/pointers.ts'
import { i32, struct, u8, viewOf } from '../struct.ts'
import { PF, PT } from './definitions.ts'
import type { ElfMemoryImage } from './memory.ts'

/** The fixed part of .eh_frame_hdr, as far as it is needed here (LSB, "The .eh_frame_hdr section"). */
const Header = struct('.eh_frame_hdr', { version: u8, eh_frame_ptr_enc: u8, fde_count_enc: u8, table_enc: u8, eh_frame_ptr: i32 })

export interface EhFrameInMemory {
  /** In the process. */
  readonly address: bigint
  /** From the section's start to the end of its segment: what lies behind the section's terminator is something else. */
  readonly data: Uint8Array
}

/** undefined: the module has none. Throws TRUNCATED, and what reading memory throws. */
export function ehFrameInMemory(image: ElfMemoryImage): EhFrameInMemory | undefined {
  return announcedEhFrame(image) ?? searchedEhFrame(image)
}

function announcedEhFrame({ segments, bias, space }: ElfMemoryImage): EhFrameInMemory | undefined {
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

/** A CIE from its CIE id on: 0, version 1, the augmentation "zR". Every section begins with one, since crt1.o does. */
const CIE_MARK = Buffer.from([0, 0, 0, 0, 1, 0x7a, 0x52, 0])
/** More candidates than this in one segment are no CIEs. */
const MOST_CANDIDATES = 64

function searchedEhFrame({ segments, bias }: ElfMemoryImage): EhFrameInMemory | undefined {
  const code = segments.filter(({ type, flags }) => type === PT.LOAD && (flags & PF.X) !== 0)
  for (const segment of segments) {
    if (segment.type !== PT.LOAD || (segment.flags & PF.W) !== 0) continue
    const data = segment.data()
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    let found = bytes.indexOf(CIE_MARK, 4)
    for (let candidates = 0; found >= 0 && candidates < MOST_CANDIDATES; candidates++) {
      const start = found - 4
      const address = segment.vaddr + BigInt(start)
      if (start % 4 === 0 && describesCode(data.subarray(start), address, code))
        return { address: address + bias, data: data.subarray(start) }
      found = bytes.indexOf(CIE_MARK, found + 1)
    }
  }
  return undefined
}

/** Whether the first records are a CIE and an FDE of code that is there. */
function describesCode(data: Uint8Array, address: bigint, code: ElfMemoryImage['segments']): boolean {
  try {
    const view = viewOf(data)
    let end = 0
    for (let records = 0; records < 2; records++) end += 4 + view.getUint32(end, true)
    const [, fde] = readEhFrame(data.subarray(0, end))
    const begin = fde?.kind === 'fde' ? pointerAddress(fde.begin, address) : undefined
    return begin !== undefined && code.some(({ vaddr, memsz }) => vaddr <= begin && begin < vaddr + BigInt(memsz))
  } catch (error) {
    if (error instanceof HotpatchError || error instanceof RangeError) return false
    throw error
  }
}
