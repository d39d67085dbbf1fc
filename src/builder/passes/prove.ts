/**
 * Proof that a block of an object is what lies at a place of the base image: its bytes, with relocated fields left out. Linkers rewrite
 * a few instructions around such fields (x86-64 psABI, "Linker Optimization" and "TLS linkage"); those count as the same.
 */
import { EDGE_KINDS } from '../../machine/edges.ts'
import type { BaseImage, BaseSection } from '../base-image.ts'
import type { Block, Edge } from '../graph.ts'
import { entryOf, functionSize, isThreadLocal } from '../places.ts'

export type Proof = 'same' | 'differs'

export function sectionAt(base: BaseImage, rva: number): BaseSection | undefined {
  return base.sections.find((s) => rva >= s.rva && rva < s.rva + s.size)
}

/** Whether the section of the base image may hold what the block is: what was writable stays so, const data may be relocated. */
function fits(block: Block, section: BaseSection | undefined): boolean {
  if (section === undefined) return false
  if (block.kind === 'code') return section.kind === 'code'
  if (block.kind === 'rodata') return section.kind !== 'bss' && section.kind !== 'tls'
  return (
    section.kind === 'data' || section.kind === 'bss' || (section.kind === 'rodata' && block.kind === 'data') || section.kind === 'other'
  )
}

/** `rva` is where the block begins. A block of zeros can only be held against the kind of section. */
export function prove(block: Block, base: BaseImage, rva: number): Proof {
  if (!fits(block, sectionAt(base, rva))) return 'differs'
  if (block.content === undefined) return 'same'
  // Padding before the entry and behind the end is the linker's and the assembler's.
  const start = block.kind === 'code' ? entryOf(block) : 0
  const end = block.kind === 'code' ? start + functionSize(block) : block.size
  const found = base.bytes(rva + start, end - start)
  if (found === undefined) {
    // Initialised with zeros and placed in .bss by the linker.
    return block.kind !== 'code' && block.edges.length === 0 && block.content.every((x) => x === 0) ? 'same' : 'differs'
  }
  const ignored = new Uint8Array(block.size)
  for (const edge of block.edges) ignore(ignored, edge, block, found, start)
  for (let i = start; i < end; i++) if (ignored[i] === 0 && block.content[i] !== found[i - start]) return 'differs'
  return 'same'
}

function ignore(ignored: Uint8Array, edge: Edge, block: Block, found: Uint8Array, start: number): void {
  const content = block.content as Uint8Array
  ignored.fill(1, edge.offset, edge.offset + edge.size)
  if (block.kind !== 'code') return
  // General and local dynamic sequences become up to 12 bytes of local exec behind and 4 before the field.
  if (isThreadLocal(edge) && EDGE_KINDS[edge.kind].pcRelative) ignored.fill(1, Math.max(0, edge.offset - 4), edge.offset + 12)
  else if (edge.kind === 'gotpcrel32' && relaxationOf(content, edge.offset, found, edge.offset - start) !== undefined)
    ignored.fill(1, Math.max(0, edge.offset - 3), edge.offset + 4)
}

export interface Relaxation {
  /** What the bytes before the field were and became: opcode, ModRM. */
  readonly name: string
  readonly matches: (object: readonly [number, number], image: readonly [number, number]) => boolean
  /** How the target is read off the field at `at` (the field's offset): the distance from its end, the address itself, or a call one byte earlier. */
  readonly field: 'relative' | 'absolute' | 'relative-one-earlier'
}

const RIP = 0x05
const isRip = (modrm: number): boolean => (modrm & 0xc7) === RIP
const register = (modrm: number): number => (modrm >> 3) & 7
const BINARY_OPERATIONS: readonly number[] = [0x03, 0x0b, 0x13, 0x1b, 0x23, 0x2b, 0x33, 0x3b]

/** R_X86_64_GOTPCRELX and REX_GOTPCRELX, as GNU ld, gold, lld and mold relax them. */
export const RELAXATIONS: readonly Relaxation[] = [
  {
    name: 'mov foo@GOTPCREL(%rip), %reg → lea foo(%rip), %reg',
    matches: ([op, modrm], [op2, modrm2]) => op === 0x8b && isRip(modrm) && op2 === 0x8d && modrm2 === modrm,
    field: 'relative',
  },
  {
    name: 'mov foo@GOTPCREL(%rip), %reg → mov $foo, %reg',
    matches: ([op, modrm], [op2, modrm2]) => op === 0x8b && isRip(modrm) && op2 === 0xc7 && modrm2 === (0xc0 | register(modrm)),
    field: 'absolute',
  },
  {
    name: 'test %reg, foo@GOTPCREL(%rip) → test $foo, %reg',
    matches: ([op, modrm], [op2, modrm2]) => op === 0x85 && isRip(modrm) && op2 === 0xf7 && modrm2 === (0xc0 | register(modrm)),
    field: 'absolute',
  },
  {
    name: 'binop foo@GOTPCREL(%rip), %reg → binop $foo, %reg',
    matches: ([op, modrm], [op2, modrm2]) =>
      BINARY_OPERATIONS.includes(op) && isRip(modrm) && op2 === 0x81 && modrm2 === (0xc0 | (op & 0x38) | register(modrm)),
    field: 'absolute',
  },
  {
    name: 'call *foo@GOTPCREL(%rip) → addr32 call foo',
    matches: ([op, modrm], [op2, modrm2]) => op === 0xff && modrm === 0x15 && op2 === 0x67 && modrm2 === 0xe8,
    field: 'relative',
  },
  {
    name: 'call *foo@GOTPCREL(%rip) → call foo; nop',
    matches: ([op, modrm], [op2]) => op === 0xff && modrm === 0x15 && op2 === 0xe8,
    field: 'relative-one-earlier',
  },
  {
    name: 'jmp *foo@GOTPCREL(%rip) → jmp foo; nop',
    matches: ([op, modrm], [op2]) => op === 0xff && modrm === 0x25 && op2 === 0xe9,
    field: 'relative-one-earlier',
  },
]

/** How the linker rewrote the instruction of a GOT field; undefined: not at all. `found` are the image's bytes, `at` the field there. */
export function relaxationOf(content: Uint8Array, offset: number, found: Uint8Array, at: number): Relaxation | undefined {
  if (offset < 2 || at < 2) return undefined
  const object = [content[offset - 2] as number, content[offset - 1] as number] as const
  const image = [found[at - 2] as number, found[at - 1] as number] as const
  return RELAXATIONS.find((r) => r.matches(object, image))
}
