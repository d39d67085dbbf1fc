/** Edge kinds of x64's instructions. */
import type { EdgeKindFacts } from '../edge-facts.ts'

export const X64_EDGE_KINDS = {
  abs32s: { size: 4, pcRelative: false, what: 'S + A, sign-extended by its user' },
  branch32: { size: 4, pcRelative: true, fromEnd: true, role: 'branch', what: 'S + A - P' },
  /** GOTPCREL and its relaxable forms. */
  gotpcrel32: { size: 4, pcRelative: true, fromEnd: true, role: 'got', what: 'GOT slot of S + A - P' },
  tpoff32: { size: 4, pcRelative: false, role: 'tls', access: 'local-exec', what: 'S + A - thread pointer (local exec)' },
  gottpoff32: {
    size: 4,
    pcRelative: true,
    fromEnd: true,
    role: 'tls',
    access: 'initial-exec',
    what: 'GOT slot of the thread offset of S + A - P (initial exec)',
  },
  tlsgd32: {
    size: 4,
    pcRelative: true,
    fromEnd: true,
    role: 'tls',
    access: 'general-dynamic',
    what: 'GOT pair of S for __tls_get_addr + A - P (general dynamic)',
  },
  tlsld32: {
    size: 4,
    pcRelative: true,
    fromEnd: true,
    role: 'tls',
    access: 'local-dynamic',
    what: 'GOT pair of the module + A - P (local dynamic)',
  },
  tlsdesc32: {
    size: 4,
    pcRelative: true,
    fromEnd: true,
    role: 'tls',
    access: 'descriptor',
    what: 'GOT pair of the descriptor of S + A - P',
  },
  tlsdesccall: { size: 2, mask: 0, pcRelative: false, role: 'tls', access: 'descriptor', what: 'the call through a descriptor' },
  dtpoff32: { size: 4, pcRelative: false, role: 'tls', access: 'block-offset', what: "S + A - start of the module's thread-local block" },
} as const satisfies Record<string, EdgeKindFacts>
