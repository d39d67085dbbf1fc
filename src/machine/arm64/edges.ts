/**
 * Edge kinds of ARM64's instructions ("ELF for the Arm 64-bit Architecture", 5.7). Each is 4 bytes, and the field is some of their bits; a
 * PC-relative one counts from the instruction itself. Page(x) is x without its low 12 bits.
 */
import type { EdgeKindFacts } from '../edge-facts.ts'

/** Bits of immediates, by the instruction that has them. */
export const IMM26 = 0x03ff_ffff
export const IMM19 = 0x00ff_ffe0
export const IMM14 = 0x0007_ffe0
export const IMM16 = 0x001f_ffe0
export const IMM12 = 0x003f_fc00
/** ADR and ADRP: two bits at 29, nineteen at 5. */
export const IMM21 = 0x60ff_ffe0

export const ARM64_EDGE_KINDS = {
  /** B, BL. */
  branch26: { size: 4, mask: IMM26, pcRelative: true, role: 'branch', what: '(S + A - P) / 4' },
  /** B.cond, CBZ, CBNZ. */
  branch19: { size: 4, mask: IMM19, pcRelative: true, role: 'branch', what: '(S + A - P) / 4' },
  /** TBZ, TBNZ. */
  branch14: { size: 4, mask: IMM14, pcRelative: true, role: 'branch', what: '(S + A - P) / 4' },
  /** LDR (literal). */
  literal19: { size: 4, mask: IMM19, pcRelative: true, what: '(S + A - P) / 4' },
  /** ADR. */
  adr21: { size: 4, mask: IMM21, pcRelative: true, what: 'S + A - P' },
  /** ADRP. */
  page21: { size: 4, mask: IMM21, pcRelative: true, what: 'Page(S + A) - Page(P)' },
  /** ADD (immediate), LDR and STR (unsigned offset), which count in what they load. */
  pageoff12: { size: 4, mask: IMM12, pcRelative: false, what: 'the low 12 bits of S + A' },
  gotpage21: { size: 4, mask: IMM21, pcRelative: true, role: 'got', what: 'Page(GOT slot of S + A) - Page(P)' },
  gotpageoff12: { size: 4, mask: IMM12, pcRelative: false, role: 'got', what: 'the low 12 bits of the GOT slot of S + A' },
  /** From the page that the GOT begins in: -fpic. */
  gotoffset15: { size: 4, mask: IMM12, pcRelative: false, role: 'got', what: 'GOT slot of S + A - Page(GOT)' },
  movw16: { size: 4, mask: IMM16, pcRelative: false, what: '16 bits of S + A' },
  /** ADD with its immediate shifted. */
  tprelhi12: {
    size: 4,
    mask: IMM12,
    pcRelative: false,
    role: 'tls',
    access: 'local-exec',
    what: 'bits 12 to 23 of S + A - thread pointer',
  },
  tprello12: {
    size: 4,
    mask: IMM12,
    pcRelative: false,
    role: 'tls',
    access: 'local-exec',
    what: 'the low 12 bits of S + A - thread pointer',
  },
  /** Of code that is content with these 12 bits. */
  tprel12: { size: 4, mask: IMM12, pcRelative: false, role: 'tls', access: 'local-exec', what: 'S + A - thread pointer' },
  /** MOVZ, MOVK. */
  tprelmovw16: { size: 4, mask: IMM16, pcRelative: false, role: 'tls', access: 'local-exec', what: '16 bits of S + A - thread pointer' },
  gottprelpage21: {
    size: 4,
    mask: IMM21,
    pcRelative: true,
    role: 'tls',
    access: 'initial-exec',
    what: 'Page(GOT slot of the thread offset of S + A) - Page(P)',
  },
  gottprello12: {
    size: 4,
    mask: IMM12,
    pcRelative: false,
    role: 'tls',
    access: 'initial-exec',
    what: 'the low 12 bits of the GOT slot of the thread offset of S + A',
  },
  tlsgdpage21: {
    size: 4,
    mask: IMM21,
    pcRelative: true,
    role: 'tls',
    access: 'general-dynamic',
    what: 'Page(GOT pair of S + A for __tls_get_addr) - Page(P)',
  },
  tlsgdlo12: {
    size: 4,
    mask: IMM12,
    pcRelative: false,
    role: 'tls',
    access: 'general-dynamic',
    what: 'the low 12 bits of the GOT pair of S + A for __tls_get_addr',
  },
  tlsdescpage21: {
    size: 4,
    mask: IMM21,
    pcRelative: true,
    role: 'tls',
    access: 'descriptor',
    what: 'Page(GOT pair of the descriptor of S + A) - Page(P)',
  },
  tlsdesclo12: {
    size: 4,
    mask: IMM12,
    pcRelative: false,
    role: 'tls',
    access: 'descriptor',
    what: 'the low 12 bits of the GOT pair of the descriptor of S + A',
  },
  /** Marks a call, BLR: nothing of it is a field. */
  tlsdescblr: { size: 4, mask: 0, pcRelative: false, role: 'tls', access: 'descriptor', what: 'the call of a TLS descriptor' },
  /** COFF SECREL. */
  secrelhi12: { size: 4, mask: IMM12, pcRelative: false, access: 'block-offset', what: 'bits 12 to 23 of S + A - start of its section' },
  secrello12: { size: 4, mask: IMM12, pcRelative: false, access: 'block-offset', what: 'the low 12 bits of S + A - start of its section' },
  /** Models that no compiler of today chooses by itself. */
  tlspage21: { size: 4, mask: IMM21, pcRelative: true, role: 'tls', what: 'Page(thread-local slots of S) - Page(P)' },
  tlsoff12: { size: 4, mask: IMM12, pcRelative: false, role: 'tls', what: 'low or high 12 bits of a thread-local offset or slot of S' },
  tlsmovw16: { size: 4, mask: IMM16, pcRelative: false, role: 'tls', what: '16 bits of a thread-local offset of S' },
} as const satisfies Record<string, EdgeKindFacts>
