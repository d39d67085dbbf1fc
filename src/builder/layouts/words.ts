/** Changes of layouts in words. */
import type { Field, LayoutChange, MemberChange } from './compare.ts'

/** How many members a sentence names. */
const NAMED = 6

/** One sentence without a full stop: the size, and what moved. */
export function describeChange({ kind, sizeBefore, sizeAfter, members }: LayoutChange): string {
  const size = sizeBefore === sizeAfter ? `${sizeAfter} bytes as before` : `${sizeBefore} bytes before, ${sizeAfter} after`
  // What merely moved behind something else is the least telling.
  const order: readonly MemberChange['what'][] = ['added', 'removed', 'resized', 'retyped', 'revalued', 'resigned', 'moved']
  const sorted = [...members].sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what))
  const named = sorted.slice(0, NAMED).map((member) => describeMember(member, kind === 'enum'))
  const rest = members.length - named.length
  return [size, ...(named.length > 0 ? [named.join('; ')] : []), ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
}

function describeMember({ name, what, before, after }: MemberChange, enumerator: boolean): string {
  if (enumerator) return enumeratorWords(name, before, after)
  switch (what) {
    case 'added':
      return `${name} was added (${place(after)})`
    case 'removed':
      return `${name} was removed (${place(before)})`
    case 'moved':
      return `${name} moved (${offset(before)} → ${offset(after)})`
    case 'resized':
      return `${name} was resized (${bits(before)} → ${bits(after)}, ${after?.type})`
    case 'resigned':
    case 'retyped':
      return `${name} is of another type (${before?.type} → ${after?.type})`
    case 'revalued':
      return `${name} changed`
  }
}

function enumeratorWords(name: string, before: Field | undefined, after: Field | undefined): string {
  if (before === undefined) return `${name} was added (${after?.value})`
  return after === undefined ? `${name} was removed (${before.value})` : `${name} is ${after.value} instead of ${before.value}`
}

const place = (f: Field | undefined): string => (f?.bitOffset === undefined ? (f?.type ?? '') : `${f.type}, ${bits(f)} at ${offset(f)}`)

function offset(f: Field | undefined): string {
  if (f?.bitOffset === undefined) return f?.type ?? '?'
  const byte = Math.floor(f.bitOffset / 8)
  return f.bitField ? `bit ${f.bitOffset % 8} of byte ${byte}` : `byte ${byte}`
}

function bits(f: Field | undefined): string {
  if (f?.bitSize === undefined) return 'an unknown size'
  const { bitSize, bitField } = f
  if (bitField) return bitSize === 1 ? '1 bit' : `${bitSize} bits`
  return bitSize === 8 ? '1 byte' : `${bitSize / 8} bytes`
}
