/** Machine code that hotpatch itself puts into a process, each line with its assembly beside it. All of it is position-independent. */
import type { StubTemplate } from '../architecture.ts'
import { AUTIASP, AUTIBSP, PACIASP, putWord, wordsOf } from './instructions.ts'

/** One instruction and its assembly. */
export interface Line {
  readonly word: number
  readonly assembly: string
}

const line = (word: number, assembly: string): Line => ({ word, assembly })

export const assemble = (lines: readonly Line[]): Uint8Array => wordsOf(lines.map(({ word }) => word))

const PAGE_SIZE = 4096

/**
 * A stub of the hotpatch address table: jumps through the pointer exactly one page behind it. x16 is the linker's to use between a call and the
 * function it calls (AAPCS64, 6.1.1), and `br x16` may land where an indirect call may (`bti c`, `paciasp`).
 */
export const HPAT_STUB: readonly Line[] = [line(0x58008010, 'ldr x16, #4096'), line(0xd61f0200, 'br x16')]

export const HPAT_STUB_SIZE = 8
/** A code page of 512 stubs. The page behind it holds their 512 pointers: pointer i is at 8 i. */
export function hpatCodePage(): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE)
  const stub = assemble(HPAT_STUB)
  for (let at = 0; at < PAGE_SIZE; at += HPAT_STUB_SIZE) page.set(stub, at)
  return page
}

/** To a place within 4 GB: further than a branch reaches. */
export const FAR_JUMP: readonly Line[] = [
  line(0x90000010, 'adrp x16, #0'),
  line(0x91000210, 'add x16, x16, #0'),
  line(0xd61f0200, 'br x16'),
]

/** To where a pointer within 4 GB leads. */
export const POINTER_JUMP: readonly Line[] = [
  line(0x90000010, 'adrp x16, #0'),
  line(0xf9400210, 'ldr x16, [x16]'),
  line(0xd61f0200, 'br x16'),
]

/** Both begin with the address's page and go on with the rest of it. */
const edges: StubTemplate['edges'] = [
  { offset: 0, kind: 'page21', addend: 0 },
  { offset: 4, kind: 'pageoff12', addend: 0 },
]

export const farJump: StubTemplate = { content: assemble(FAR_JUMP), edges }
export const pointerJump: StubTemplate = { content: assemble(POINTER_JUMP), edges }

/** Takes back that the return address was signed, and goes on: for a function that does not sign it in the place of one that did. */
export function unsigningJump(signing: number): StubTemplate {
  const content = new Uint8Array(8)
  putWord(content, 0, signing === PACIASP ? AUTIASP : AUTIBSP)
  putWord(content, 4, 0x14000000)
  return { content, edges: [{ offset: 4, kind: 'branch26', addend: 0 }] }
}
