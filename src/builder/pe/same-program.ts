/** Whether two COFF objects make the same program: quickly, from their bytes, without reading what they mean. */
import { IMAGE_SCN, IMAGE_SYM_CLASS, ImageFileHeader, ImageRelocation, ImageSectionHeader } from '../../binary/coff/definitions.ts'
import { viewOf } from '../../binary/struct.ts'

const F = ImageFileHeader.offsets
const S = ImageSectionHeader.offsets
/** IMAGE_SYMBOL, which no alignment rounds up. */
const SYMBOL = { size: 18, section: 12, storageClass: 16, auxiliaries: 17 } as const

/** Debug information: nobody maps it. */
const isDebug = (characteristics: number): boolean =>
  (characteristics & IMAGE_SCN.MEM_DISCARDABLE) !== 0 &&
  (characteristics & (IMAGE_SCN.MEM_EXECUTE | IMAGE_SCN.MEM_WRITE | IMAGE_SCN.CNT_CODE)) === 0

/**
 * true: both have the same sections and symbols, and the sections that matter have the same bytes: what differs is the time of compilation and
 * debug information. false: they differ, or it cannot be told this quickly (objects of the big kind).
 */
export function sameCoffProgram(before: Uint8Array, after: Uint8Array): boolean {
  if (before.length < ImageFileHeader.size || after.length < ImageFileHeader.size) return false
  const [b, a] = [viewOf(before), viewOf(after)]
  const count = b.getUint16(F.NumberOfSections, true)
  const symbols = b.getUint32(F.NumberOfSymbols, true)
  const machine = b.getUint16(F.Machine, true)
  const optional = b.getUint16(F.SizeOfOptionalHeader, true)
  if (machine === 0 || count === 0 || optional !== 0) return false
  if (machine !== a.getUint16(F.Machine, true) || count !== a.getUint16(F.NumberOfSections, true)) return false
  if (symbols !== a.getUint32(F.NumberOfSymbols, true) || a.getUint16(F.SizeOfOptionalHeader, true) !== 0) return false
  const headersEnd = ImageFileHeader.size + count * ImageSectionHeader.size
  if (headersEnd > before.length || headersEnd > after.length) return false
  const debug = new Set<number>()
  for (let i = 0; i < count; i++) {
    const at = ImageFileHeader.size + i * ImageSectionHeader.size
    const characteristics = b.getUint32(at + S.Characteristics, true)
    // Name, sizes in memory; then what the section is.
    if (!same(before, at, after, at, S.SizeOfRawData) || characteristics !== a.getUint32(at + S.Characteristics, true)) return false
    if (!isWithin(before, b, at) || !isWithin(after, a, at)) return false
    if (isDebug(characteristics)) {
      debug.add(i + 1)
      continue
    }
    const size = b.getUint32(at + S.SizeOfRawData, true)
    const relocations = b.getUint16(at + S.NumberOfRelocations, true)
    if (size !== a.getUint32(at + S.SizeOfRawData, true) || relocations !== a.getUint16(at + S.NumberOfRelocations, true)) return false
    // More relocations than the field can count are counted in the first of them.
    if (characteristics & IMAGE_SCN.LNK_NRELOC_OVFL) return false
    const place = (view: DataView, field: number): number => view.getUint32(at + field, true)
    const [rawB, rawA] = [place(b, S.PointerToRawData), place(a, S.PointerToRawData)]
    if ((rawB === 0) !== (rawA === 0) || (rawB !== 0 && !same(before, rawB, after, rawA, size))) return false
    const [fromB, fromA] = [place(b, S.PointerToRelocations), place(a, S.PointerToRelocations)]
    if (!same(before, fromB, after, fromA, relocations * ImageRelocation.size)) return false
  }
  return sameSymbols(before, after, symbols, debug)
}

/** The symbol table and the strings behind it. What it says of debug sections, their sizes and check sums, does not matter. */
function sameSymbols(before: Uint8Array, after: Uint8Array, count: number, debug: ReadonlySet<number>): boolean {
  const [b, a] = [viewOf(before), viewOf(after)]
  const [atB, atA] = [b.getUint32(F.PointerToSymbolTable, true), a.getUint32(F.PointerToSymbolTable, true)]
  const size = count * SYMBOL.size
  if (atB + size > before.length || atA + size > after.length) return false
  for (let i = 0; i < count; ) {
    const [inB, inA] = [atB + i * SYMBOL.size, atA + i * SYMBOL.size]
    const auxiliaries = b.getUint8(inB + SYMBOL.auxiliaries)
    const ofDebug =
      b.getUint8(inB + SYMBOL.storageClass) === IMAGE_SYM_CLASS.STATIC &&
      debug.has(b.getInt16(inB + SYMBOL.section, true)) &&
      auxiliaries === 1
    if (!same(before, inB, after, inA, ofDebug ? SYMBOL.size : SYMBOL.size * (1 + auxiliaries))) return false
    i += 1 + auxiliaries
  }
  return Buffer.compare(before.subarray(atB + size), after.subarray(atA + size)) === 0
}

/** Damage is for the reader to name. */
function isWithin(data: Uint8Array, view: DataView, header: number): boolean {
  const raw = view.getUint32(header + S.PointerToRawData, true)
  const relocations = view.getUint32(header + S.PointerToRelocations, true)
  return (
    (raw === 0 || raw + view.getUint32(header + S.SizeOfRawData, true) <= data.length) &&
    relocations + view.getUint16(header + S.NumberOfRelocations, true) * ImageRelocation.size <= data.length
  )
}

function same(b: Uint8Array, atB: number, a: Uint8Array, atA: number, length: number): boolean {
  if (atB + length > b.length || atA + length > a.length) return false
  return Buffer.compare(b.subarray(atB, atB + length), a.subarray(atA, atA + length)) === 0
}
