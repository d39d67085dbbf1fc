/** .eh_frame_hdr: the table that lets an unwinder find the FDE of an address by binary search (LSB, "The .eh_frame_hdr section"). */
import { HotpatchError } from '../../errors.ts'
import { i32, struct, u8, u32, viewOf } from '../struct.ts'
import { DW_EH_PE } from './pointers.ts'

export const EhFrameHdr = struct('.eh_frame_hdr', {
  version: u8,
  eh_frame_ptr_enc: u8,
  fde_count_enc: u8,
  table_enc: u8,
  /** From this field. */
  eh_frame_ptr: i32,
  fde_count: u32,
})

/** Both count from the start of .eh_frame_hdr. */
export const EhFrameHdrEntry = struct('.eh_frame_hdr entry', { initial_location: i32, address: i32 })

export interface FdeAddress {
  /** Where the code begins; RVA or address, all of one kind. */
  readonly code: number
  /** Where the FDE lies. */
  readonly fde: number
}

/** Bytes that the section takes for `count` FDEs. */
export const ehFrameHdrSize = (count: number): number => EhFrameHdr.size + count * EhFrameHdrEntry.size

const HEADER = {
  version: 1,
  eh_frame_ptr_enc: DW_EH_PE.pcrel | DW_EH_PE.sdata4,
  fde_count_enc: DW_EH_PE.udata4,
  table_enc: DW_EH_PE.datarel | DW_EH_PE.sdata4,
}

/** The section for an .eh_frame at `frame`, lying at `header`. */
export function encodeEhFrameHdr(header: number, frame: number, fdes: readonly FdeAddress[]): Uint8Array {
  const data = new Uint8Array(ehFrameHdrSize(fdes.length))
  const view = viewOf(data)
  EhFrameHdr.write(view, 0, { ...HEADER, eh_frame_ptr: frame - (header + EhFrameHdr.offsets.eh_frame_ptr), fde_count: fdes.length })
  const sorted = [...fdes].sort((a, b) => a.code - b.code)
  sorted.forEach(({ code, fde }, i) => {
    EhFrameHdrEntry.write(view, EhFrameHdr.size + i * EhFrameHdrEntry.size, { initial_location: code - header, address: fde - header })
  })
  return data
}

/**
 * The entries of a section that lies at `header`, as every linker here writes it. undefined: it has no such table.
 * Throws TRUNCATED, MALFORMED.
 */
export function readEhFrameHdr(data: Uint8Array, header: number): FdeAddress[] | undefined {
  const fields = EhFrameHdr.readAt(data, 0)
  if (fields.version !== HEADER.version) throw new HotpatchError('MALFORMED', `.eh_frame_hdr is of version ${fields.version}`)
  if (
    fields.table_enc !== HEADER.table_enc ||
    fields.fde_count_enc !== HEADER.fde_count_enc ||
    fields.eh_frame_ptr_enc !== HEADER.eh_frame_ptr_enc
  )
    return undefined
  return EhFrameHdrEntry.readMany(data, EhFrameHdr.size, fields.fde_count).map((e) => ({
    code: header + e.initial_location,
    fde: header + e.address,
  }))
}
