/**
 * .eh_frame split into its records. A CIE says what many functions have in common, an FDE describes one stretch of code. What
 * their instructions mean is told by cfa.ts, which takes `EhCie` and `EhFde` as they come from here.
 */
import { HotpatchError } from '../../errors.ts'
import { Cursor } from './cursor.ts'
import { DW_EH_PE, type EncodedPointer, readPointer } from './pointers.ts'

interface EhRecord {
  /** Of the length field, from the start of the section. */
  readonly offset: number
  /** The whole record with its length field, in bytes. */
  readonly size: number
}

export interface EhCie extends EhRecord {
  readonly kind: 'cie'
  readonly version: number
  /** Such as `zR` or `zPLR`. */
  readonly augmentation: string
  readonly codeAlignment: number
  readonly dataAlignment: number
  readonly returnAddressRegister: number
  /** DW_EH_PE of the pointers in its FDEs. */
  readonly fdeEncoding: number
  /** DW_EH_PE of the language-specific data pointer in its FDEs; DW_EH_PE.omit: they have none. */
  readonly lsdaEncoding: number
  readonly personality: EncodedPointer | undefined
  /** The frame is a signal handler's: its return address is exact, not one past a call. */
  readonly signalFrame: boolean
  readonly initialInstructions: Uint8Array
}

export interface EhFde extends EhRecord {
  readonly kind: 'fde'
  readonly cie: EhCie
  /** The field that tells the distance back to the CIE, from the start of the section. */
  readonly ciePointerOffset: number
  /** Where the code begins. */
  readonly begin: EncodedPointer
  /** How many bytes of code. */
  readonly range: bigint
  readonly lsda: EncodedPointer | undefined
  readonly instructions: Uint8Array
}

const LENGTH_SIZE = 4
const EXTENDED_LENGTH = 0xffffffff

/**
 * The records in section order, up to the terminator (a length of 0) or the section's end.
 * Throws TRUNCATED, MALFORMED (also for 64-bit DWARF, which no unwinder reads here).
 */
export function readEhFrame(data: Uint8Array): (EhCie | EhFde)[] {
  const records: (EhCie | EhFde)[] = []
  const cies = new Map<number, EhCie>()
  const section = new Cursor(data)
  while (section.end - section.at >= LENGTH_SIZE) {
    const offset = section.at
    const length = section.u32()
    if (length === 0) break
    if (length === EXTENDED_LENGTH) throw new HotpatchError('MALFORMED', `the unwind record at offset ${offset} is of 64-bit DWARF`)
    const cursor = new Cursor(data, section.at, section.at + length)
    section.bytes(length)
    const place: EhRecord = { offset, size: LENGTH_SIZE + length }
    const ciePointerOffset = cursor.at
    const ciePointer = cursor.u32()
    if (ciePointer === 0) {
      const cie = readCie(cursor, place)
      cies.set(offset, cie)
      records.push(cie)
      continue
    }
    const cie = cies.get(ciePointerOffset - ciePointer)
    if (!cie) throw new HotpatchError('MALFORMED', `the FDE at offset ${offset} refers to a CIE that is not before it`)
    records.push(readFde(cursor, place, cie, ciePointerOffset))
  }
  return records
}

function readCie(cursor: Cursor, place: EhRecord): EhCie {
  const version = cursor.u8()
  if (version !== 1 && version !== 3 && version !== 4)
    throw new HotpatchError('MALFORMED', `the CIE at offset ${place.offset} is of version ${version}`)
  let augmentation = ''
  for (let c = cursor.u8(); c !== 0; c = cursor.u8()) augmentation += String.fromCharCode(c)
  if (augmentation !== '' && !augmentation.startsWith('z'))
    throw new HotpatchError('MALFORMED', `the CIE at offset ${place.offset} has the unknown augmentation "${augmentation}"`)
  // Version 4 tells the sizes of an address and of a segment selector.
  if (version === 4 && (cursor.u8() !== 8 || cursor.u8() !== 0))
    throw new HotpatchError('MALFORMED', `the CIE at offset ${place.offset} is not for flat 64-bit addresses`)
  const codeAlignment = cursor.uleb()
  const dataAlignment = cursor.sleb()
  const returnAddressRegister = version === 1 ? cursor.u8() : cursor.uleb()
  let fdeEncoding: number = DW_EH_PE.absptr
  let lsdaEncoding: number = DW_EH_PE.omit
  let personality: EncodedPointer | undefined
  let signalFrame = false
  if (augmentation !== '') {
    const length = cursor.uleb()
    const end = cursor.at + length
    const data = new Cursor(cursor.data, cursor.at, Math.min(end, cursor.end))
    cursor.bytes(length)
    for (const letter of augmentation.slice(1)) {
      if (letter === 'R') fdeEncoding = data.u8()
      else if (letter === 'L') lsdaEncoding = data.u8()
      else if (letter === 'P') personality = readPointer(data, data.u8())
      else if (letter === 'S') signalFrame = true
      // B and G (AArch64: pointer authentication with key B, memory tagging) have no data.
      else if (letter !== 'B' && letter !== 'G')
        throw new HotpatchError('MALFORMED', `the CIE at offset ${place.offset} has the unknown augmentation "${augmentation}"`)
    }
  }
  return {
    kind: 'cie',
    ...place,
    version,
    augmentation,
    codeAlignment,
    dataAlignment,
    returnAddressRegister,
    fdeEncoding,
    lsdaEncoding,
    personality,
    signalFrame,
    initialInstructions: cursor.bytes(cursor.end - cursor.at),
  }
}

function readFde(cursor: Cursor, place: EhRecord, cie: EhCie, ciePointerOffset: number): EhFde {
  const begin = readPointer(cursor, cie.fdeEncoding)
  const range = readPointer(cursor, cie.fdeEncoding & 0x0f).value
  let lsda: EncodedPointer | undefined
  if (cie.augmentation !== '') {
    const length = cursor.uleb()
    const data = new Cursor(cursor.data, cursor.at, Math.min(cursor.at + length, cursor.end))
    cursor.bytes(length)
    if (cie.lsdaEncoding !== DW_EH_PE.omit && length > 0) lsda = readPointer(data, cie.lsdaEncoding)
  }
  return {
    kind: 'fde',
    ...place,
    cie,
    ciePointerOffset,
    begin,
    range: BigInt.asUintN(64, range),
    lsda,
    instructions: cursor.bytes(cursor.end - cursor.at),
  }
}
