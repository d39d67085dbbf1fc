/** Two definitions of one type: what moved. A member's name is its identity, since that is what code refers to it by. */
import type { Aggregate, Enumeration, FunctionType, Member, TypeDefinition, TypeRef } from '../../binary/types/model.ts'
import { describe } from './describe.ts'

export interface LayoutChange {
  readonly kind: TypeDefinition['kind']
  /** Bytes. */
  readonly sizeBefore: number
  readonly sizeAfter: number
  /** Empty where the size alone changed. */
  readonly members: readonly MemberChange[]
}

export interface MemberChange {
  /** Path within the type: `limits.max` for a member of an unnamed struct that is called limits. An enumerator's name. */
  readonly name: string
  readonly what: 'added' | 'removed' | 'moved' | 'resized' | 'retyped' | 'resigned' | 'revalued'
  readonly before: Field | undefined
  readonly after: Field | undefined
}

/** Where a member lies; of an enumerator, its value. */
export interface Field {
  /** Bits from the start of the type; undefined: found at run time. */
  readonly bitOffset: number | undefined
  /** Bits; undefined: not known. */
  readonly bitSize: number | undefined
  readonly bitField: boolean
  /** In C's words. */
  readonly type: string
  readonly value?: number
}

/** undefined: nothing about the layout or the meaning of values changed. */
export function compareDefinitions(before: TypeDefinition, after: TypeDefinition): LayoutChange | undefined {
  const sizes = { kind: after.kind, sizeBefore: before.size, sizeAfter: after.size }
  if (before.kind === 'enum' || after.kind === 'enum') {
    if (before.kind !== 'enum' || after.kind !== 'enum') return { ...sizes, members: [] }
    const members = compareValues(before, after)
    return members.length === 0 && before.size === after.size ? undefined : { ...sizes, members }
  }
  const members = [...compareFields(before, after), ...compareVirtuals(before, after)]
  const kindChanged = (before.kind === 'union') !== (after.kind === 'union')
  return members.length === 0 && before.size === after.size && !kindChanged ? undefined : { ...sizes, members }
}

interface Leaf extends Field {
  readonly path: string
  readonly ref: TypeRef
}

/**
 * Members with those of unnamed aggregates in place of them; one that has a name and an unnamed type stands before its parts. A nameless
 * bit-field is padding, which no code can use.
 */
function leaves(members: readonly Member[], prefix: string, base: number | undefined, found: Leaf[] = []): Leaf[] {
  for (const { name, type, bitOffset, bitSize, bitField, inherited } of members) {
    const at = base === undefined || bitOffset === undefined ? undefined : base + bitOffset
    const inner = unnamedWithin(type)
    const own = inherited ? `(base) ${describe(type)}` : (name ?? '')
    const path = own === '' ? prefix : `${prefix}${own}`
    if (own !== '') found.push({ path, ref: type, bitOffset: at, bitSize, bitField, type: describe(type) })
    if (inner !== undefined && inner.kind !== 'enum') leaves(inner.members, own === '' ? prefix : `${path}.`, at, found)
  }
  return found
}

function unnamedWithin(type: TypeRef): TypeDefinition | undefined {
  if (type.kind === 'unnamed') return type.type
  return type.kind === 'array' ? unnamedWithin(type.of) : undefined
}

/** Where an aggregate's parts lie, flat: what is not among them is padding. */
export const fieldsOf = (type: Aggregate): readonly (Field & { readonly path: string })[] => leaves(type.members, '', 0)

function* compareFields(before: Aggregate, after: Aggregate): Generator<MemberChange> {
  const ofBefore = new Map(leaves(before.members, '', 0).map((leaf) => [leaf.path, leaf]))
  const ofAfter = new Map(leaves(after.members, '', 0).map((leaf) => [leaf.path, leaf]))
  for (const [path, b] of ofBefore) {
    const a = ofAfter.get(path)
    const what = a === undefined ? 'removed' : difference(b, a)
    if (what !== undefined) yield { name: path, what, before: field(b), after: a && field(a) }
  }
  for (const [path, a] of ofAfter) if (!ofBefore.has(path)) yield { name: path, what: 'added', before: undefined, after: field(a) }
}

const field = ({ bitOffset, bitSize, bitField, type }: Leaf): Field => ({ bitOffset, bitSize, bitField, type })

function difference(b: Leaf, a: Leaf): MemberChange['what'] | undefined {
  if (b.bitSize !== a.bitSize || b.bitField !== a.bitField) return 'resized'
  if (b.bitOffset !== a.bitOffset) return 'moved'
  const same = sameType(b.ref, a.ref)
  return same === 'same' ? undefined : same === 'other-sign' ? 'resigned' : 'retyped'
}

function* compareVirtuals(before: Aggregate, after: Aggregate): Generator<MemberChange> {
  const slots = (type: Aggregate) => new Map(type.virtuals.map(({ name, slot }) => [name, slot]))
  const ofBefore = slots(before)
  const ofAfter = slots(after)
  const slotField = (slot: number | undefined): Field => ({
    bitOffset: undefined,
    bitSize: undefined,
    bitField: false,
    type: `slot ${slot ?? '?'}`,
  })
  for (const [name, slot] of ofBefore) {
    const other = ofAfter.get(name)
    if (!ofAfter.has(name))
      yield {
        name: `virtual ${name}`,
        what: 'removed',
        before: slotField(slot),
        after: undefined,
      }
    else if (other !== slot)
      yield {
        name: `virtual ${name}`,
        what: 'moved',
        before: slotField(slot),
        after: slotField(other),
      }
  }
  for (const [name, slot] of ofAfter)
    if (!ofBefore.has(name))
      yield {
        name: `virtual ${name}`,
        what: 'added',
        before: undefined,
        after: slotField(slot),
      }
}

function compareValues(before: Enumeration, after: Enumeration): MemberChange[] {
  const changes: MemberChange[] = []
  const ofAfter = new Map(after.values)
  const known = new Set<string>()
  const valueField = (value: number, size: number): Field => ({
    bitOffset: 0,
    bitSize: size * 8,
    bitField: false,
    type: 'enumerator',
    value,
  })
  for (const [name, value] of before.values) {
    known.add(name)
    const other = ofAfter.get(name)
    if (other === value) continue
    changes.push({
      name,
      what: other === undefined ? 'removed' : 'revalued',
      before: valueField(value, before.size),
      after: other === undefined ? undefined : valueField(other, after.size),
    })
  }
  for (const [name, value] of after.values)
    if (!known.has(name)) changes.push({ name, what: 'added', before: undefined, after: valueField(value, after.size) })
  return changes
}

/** other-sign: integers of one width, which hold the same bits and read the highest otherwise. */
export type Sameness = 'same' | 'other-sign' | 'different'

/**
 * Whether a place that holds the one can be taken for a place that holds the other. Named types are the same if their names are: what they
 * hold is compared where they are. A pointer to void or to bytes may point to anything.
 */
export function sameType(before: TypeRef, after: TypeRef): Sameness {
  if (before.kind !== after.kind) return enumAsInteger(before, after) ? 'same' : 'different'
  switch (before.kind) {
    case 'void':
      return 'same'
    case 'base': {
      const other = after as typeof before
      if (before.size !== other.size) return 'different'
      if (before.encoding === other.encoding) return 'same'
      return isInteger(before.encoding) && isInteger(other.encoding) ? 'other-sign' : 'different'
    }
    case 'pointer': {
      const other = after as typeof before
      if (before.size !== other.size) return 'different'
      return isBytes(before.to) || isBytes(other.to) || sameType(before.to, other.to) !== 'different' ? 'same' : 'different'
    }
    case 'array': {
      const other = after as typeof before
      return before.count === other.count ? sameType(before.of, other.of) : 'different'
    }
    case 'function':
      return sameFunction(before, after as FunctionType) ? 'same' : 'different'
    case 'named':
      return before.key === (after as typeof before).key ? 'same' : 'different'
    case 'unnamed':
      return compareDefinitions(before.type, (after as typeof before).type) === undefined ? 'same' : 'different'
    case 'other':
      return before.size === (after as typeof before).size ? 'same' : 'different'
  }
}

function sameFunction(before: FunctionType, after: FunctionType): boolean {
  if (before.variadic !== after.variadic || before.parameters.length !== after.parameters.length) return false
  const same = (b: TypeRef, a: TypeRef | undefined) => a !== undefined && sameType(b, a) !== 'different'
  return same(before.returns, after.returns) && before.parameters.every((b, i) => same(b, after.parameters[i]))
}

const isInteger = (encoding: string): boolean => encoding === 'signed' || encoding === 'unsigned' || encoding === 'boolean'

const isBytes = (type: TypeRef): boolean => type.kind === 'void' || (type.kind === 'base' && type.size === 1)

/** An int that became an enum of the same width, or the other way round. */
function enumAsInteger(before: TypeRef, after: TypeRef): boolean {
  const width = (type: TypeRef): number | undefined => {
    if (type.kind === 'base') return isInteger(type.encoding) ? type.size : undefined
    if (type.kind === 'unnamed') return type.type.kind === 'enum' ? type.type.size : undefined
    return type.kind === 'named' && type.key.startsWith('enum ') ? type.size : undefined
  }
  const w = width(before)
  return w !== undefined && w === width(after)
}
