/** Fields of ARM64 instructions: filled for a target, and read. Addresses are any numbers that count from a place that is aligned to pages. */
import { HotpatchError } from '../../errors.ts'
import { EDGE_KINDS, type EdgeKind } from '../edges.ts'
import { decodeWord, offsetScale } from './instructions.ts'

const PAGE = 4096
const pageOf = (address: number): number => Math.floor(address / PAGE) * PAGE

interface Field {
  /** In bits. */
  readonly width: number
  /** Of the field's lowest bit. */
  readonly at: number
  /** What one of the field's units is, in bytes. */
  readonly unit: number
  readonly distance: (target: number, place: number) => number
}

const relative = (target: number, place: number): number => target - place

/** ADR's and ADRP's immediate is split; see below. */
const FIELDS: Readonly<Partial<Record<EdgeKind, Field>>> = {
  branch26: { width: 26, at: 0, unit: 4, distance: relative },
  branch19: { width: 19, at: 5, unit: 4, distance: relative },
  branch14: { width: 14, at: 5, unit: 4, distance: relative },
  literal19: { width: 19, at: 5, unit: 4, distance: relative },
  adr21: { width: 21, at: 0, unit: 1, distance: relative },
  page21: { width: 21, at: 0, unit: PAGE, distance: (target, place) => pageOf(target) - pageOf(place) },
}

const isSplit = (kind: EdgeKind): boolean => kind === 'adr21' || kind === 'page21'

/** How far a field reaches, in bytes: [low, high]. */
export function reachOfField(kind: EdgeKind): { readonly low: number; readonly high: number } {
  const field = FIELDS[kind]
  if (field === undefined) throw new HotpatchError('DEFECT', `a ${kind} field is no distance`)
  const half = 2 ** (field.width - 1)
  return { low: -half * field.unit, high: (half - 1) * field.unit }
}

/** Whether a field at `place` can lead to `target`. */
export function reaches(kind: EdgeKind, target: number, place: number): boolean {
  const field = FIELDS[kind]
  if (kind === 'pageoff12') return true
  if (field === undefined) return false
  const distance = field.distance(target, place)
  const { low, high } = reachOfField(kind)
  return distance % field.unit === 0 && distance >= low && distance <= high
}

/** The instruction `word` with its field of `kind` filled. Throws RANGE for what does not reach or is not aligned as the instruction asks. */
export function withField(kind: EdgeKind, word: number, target: number, place: number): number {
  const { mask = -1 } = EDGE_KINDS[kind]
  const bits = kind === 'pageoff12' ? offsetBits(word, target) : distanceBits(kind, target, place)
  return ((word & ~mask) | bits) >>> 0
}

function distanceBits(kind: EdgeKind, target: number, place: number): number {
  const field = FIELDS[kind]
  if (field === undefined || !reaches(kind, target, place))
    throw new HotpatchError('PATCH_OUT_OF_REACH', `a ${kind} field cannot hold a distance of ${target - place} bytes`)
  const value = field.distance(target, place) / field.unit
  return isSplit(kind) ? ((value & 3) << 29) | (((value >> 2) & 0x7ffff) << 5) : (value & (2 ** field.width - 1)) << field.at
}

function offsetBits(word: number, target: number): number {
  const offset = target - pageOf(target)
  const scale = decodeWord(word).form === 'load-store-offset' ? offsetScale(word) : 0
  if (offset % 2 ** scale !== 0)
    throw new HotpatchError('PATCH_OUT_OF_REACH', `a load or store of ${2 ** scale} bytes cannot have the offset ${offset}`)
  return (offset >> scale) << 10
}

/** The low 12 bits that an ADD, load or store adds to its page, in bytes; undefined: it is none of those. */
export function offsetOf(word: number): number | undefined {
  const { form } = decodeWord(word)
  const immediate = (word >>> 10) & 0xfff
  if (form === 'add') return immediate
  return form === 'load-store-offset' ? immediate * 2 ** offsetScale(word) : undefined
}
