/**
 * Relocations as references: which edge kind each number is, and what place a reference through a section's symbol means.
 *
 * The assembler replaces local symbols by their section's, so `.rodata + 12` may stand for anything at 16 when the field is the
 * last of its instruction (PC-relative fields count from the instruction's end), for 17 when a one-byte immediate follows.
 * In data, a 4-byte PC-relative field is an entry of a table (`.long .L4 - .Ltable`): its addend counts from the table's start.
 */
import type { ElfFile } from '../../binary/elf/reader.ts'
import type { ElfSymbol } from '../../binary/elf/symbols.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { CodeReading } from '../../machine/architecture.ts'
import { biasOf, EDGE_KINDS, type EdgeKind } from '../../machine/edges.ts'
import type { ElfMachine } from './machines.ts'
import type { KeptSection } from './sections.ts'

export interface Reference {
  readonly from: KeptSection
  /** Of the field, from the start of the section. */
  readonly offset: number
  readonly kind: EdgeKind
  readonly target: ElfSymbol
  readonly addend: number
}

function fieldValue(content: Uint8Array, offset: number, size: number): number {
  const view = viewOf(content)
  return size === 8 ? Number(view.getBigInt64(offset, true)) : view.getInt32(offset, true)
}

/**
 * The relocations of a section, by ascending offset.
 * Throws RELOCATION_UNSUPPORTED, MALFORMED.
 */
export function referencesOf(elf: ElfFile, from: KeptSection, machine: ElfMachine): Reference[] {
  const { section, content, kind: sectionKind } = from
  const symbols = elf.symbols()
  const references: Reference[] = []
  for (const { offset, type, symbol, addend } of elf.relocations(section.index)) {
    if (machine.ignored.has(type)) continue
    const plain = machine.kinds[type]
    if (plain === undefined)
      throw new HotpatchError('RELOCATION_UNSUPPORTED', `section ${section.name} has a relocation of type ${type} at offset ${offset}`)
    const { size } = EDGE_KINDS[plain]
    if (!content || offset + size > content.length)
      throw new HotpatchError('MALFORMED', `section ${section.name} has a relocation at offset ${offset}, outside its bytes`)
    const target = symbols[symbol]
    if (!target) throw new HotpatchError('MALFORMED', `section ${section.name} has a relocation to symbol ${symbol}, which is missing`)
    const kind = sectionKind === 'code' ? machine.refine(plain, content, offset) : plain
    references.push({ from, offset, kind, target, addend: addend ?? fieldValue(content, offset, size) })
  }
  references.sort((a, b) => a.offset - b.offset)
  for (let i = 1; i < references.length; i++) {
    const before = references[i - 1] as Reference
    if (before.offset + EDGE_KINDS[before.kind].size > (references[i] as Reference).offset)
      throw new HotpatchError('MALFORMED', `section ${section.name} has two relocations of one field at offset ${before.offset}`)
  }
  return references
}

/** Whether PC-relative fields of the section count from themselves (`.long f - .`), as unwind data's do. */
const countsFromField = ({ kind, section }: KeptSection): boolean => kind === 'unwind' || section.name.startsWith('.gcc_except_table')

/**
 * The offset in the target's section that the reference means.
 * @param pieceStart where the function or table begins that holds the field
 * @param pieceEnd one past it
 * undefined: it can't be told.
 */
export function aimOf(
  { from, offset, kind, target, addend }: Reference,
  pieceStart: number,
  pieceEnd: number,
  { originOf }: CodeReading,
): number | undefined {
  const place = Number(target.value) + addend
  if (!EDGE_KINDS[kind].pcRelative) return place
  if (from.kind === 'code') {
    if (kind !== 'pcrel32') return place + biasOf(kind)
    const code = functionBytes(from, pieceStart, pieceEnd)
    try {
      return place + originOf(code, offset - pieceStart)
    } catch (error) {
      if (error instanceof HotpatchError && error.code === 'CODE_UNDECODABLE') return undefined
      throw error
    }
  }
  return countsFromField(from) ? place : place - (offset - pieceStart)
}

const views = new WeakMap<KeptSection, Map<string, Uint8Array>>()

/** One view per function, always the same one: decodings are remembered by it. */
export function functionBytes(from: KeptSection, start: number, end: number): Uint8Array {
  let ofSection = views.get(from)
  if (!ofSection) {
    ofSection = new Map()
    views.set(from, ofSection)
  }
  const key = `${start}:${end}`
  let bytes = ofSection.get(key)
  if (!bytes) {
    bytes = (from.content ?? new Uint8Array(0)).subarray(start, end)
    ofSection.set(key, bytes)
  }
  return bytes
}
