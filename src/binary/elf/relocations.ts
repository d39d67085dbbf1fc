/** Relocation tables: RELA, REL and RELR. */
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import { Elf64_Rel, Elf64_Rela } from './definitions.ts'

export interface ElfRelocation {
  /** Of the field: offset in its section (ET_REL), else address. */
  readonly offset: number
  /** R_X86_64 or R_AARCH64. */
  readonly type: number
  /** Index in the symbol table; 0 for none. */
  readonly symbol: number
  /** undefined (REL): the field holds it. */
  readonly addend: number | undefined
}

const rela = Elf64_Rela.offsets
const rel = Elf64_Rel.offsets
const TWO_32 = 0x100000000

const safe = (value: number, what: string, index: number): number => {
  if (!Number.isSafeInteger(value)) throw new HotpatchError('MALFORMED', `the ${what} of relocation ${index} is beyond 2^53`)
  return value
}

/** Throws MALFORMED for offsets and addends beyond 2^53. */
export function readRela(data: Uint8Array): ElfRelocation[] {
  const view = viewOf(data)
  const count = Math.floor(data.length / Elf64_Rela.size)
  const out = new Array<ElfRelocation>(count)
  for (let i = 0, at = 0; i < count; i++, at += Elf64_Rela.size) {
    out[i] = {
      offset: safe(view.getUint32(at + rela.r_offset + 4, true) * TWO_32 + view.getUint32(at + rela.r_offset, true), 'offset', i),
      type: view.getUint32(at + rela.r_info, true),
      symbol: view.getUint32(at + rela.r_info + 4, true),
      addend: safe(view.getInt32(at + rela.r_addend + 4, true) * TWO_32 + view.getUint32(at + rela.r_addend, true), 'addend', i),
    }
  }
  return out
}

export function readRel(data: Uint8Array): ElfRelocation[] {
  const view = viewOf(data)
  const count = Math.floor(data.length / Elf64_Rel.size)
  const out = new Array<ElfRelocation>(count)
  for (let i = 0, at = 0; i < count; i++, at += Elf64_Rel.size) {
    out[i] = {
      offset: safe(view.getUint32(at + rel.r_offset + 4, true) * TWO_32 + view.getUint32(at + rel.r_offset, true), 'offset', i),
      type: view.getUint32(at + rel.r_info, true),
      symbol: view.getUint32(at + rel.r_info + 4, true),
      addend: undefined,
    }
  }
  return out
}

/**
 * Addresses of the fields that a RELR table names, ascending: an even word is an address, an odd one a bitmap of the 63 words
 * that follow (System V gABI, "Relative relocations").
 */
export function readRelr(data: Uint8Array): number[] {
  const view = viewOf(data)
  const out: number[] = []
  let next = 0
  for (let at = 0; at + 8 <= data.length; at += 8) {
    const low = view.getUint32(at, true)
    const high = view.getUint32(at + 4, true)
    if ((low & 1) === 0) {
      const address = safe(high * TWO_32 + low, 'address', at / 8)
      out.push(address)
      next = address + 8
      continue
    }
    for (let bit = 1; bit < 64; bit++) if ((bit < 32 ? low >>> bit : high >>> (bit - 32)) & 1) out.push(next + (bit - 1) * 8)
    next += 63 * 8
  }
  return out
}
