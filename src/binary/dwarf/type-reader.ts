/** Types of the model from DWARF's entries, row by row. */
import type { Aggregate, BaseEncoding, Enumeration, FunctionType, Member, TypeDefinition, TypeRef } from '../types/model.ts'
import { sizeOfType } from '../types/size.ts'
import type { DieTable } from './debug-info.ts'
import { DIE_FLAGS } from './debug-info-columns.ts'
import { DW_ATE, DW_TAG } from './debug-info-definitions.ts'
import { DEEPEST, defined, memberBitOffset, POINTERS, QUALIFIERS } from './type-entries.ts'

const AGGREGATES: ReadonlyMap<number, Aggregate['kind']> = new Map([
  [DW_TAG.structure_type, 'struct'],
  [DW_TAG.class_type, 'class'],
  [DW_TAG.interface_type, 'class'],
  [DW_TAG.union_type, 'union'],
])

/** Entries whose names go before the names of what they hold. */
const SCOPES: ReadonlySet<number> = new Set([
  DW_TAG.namespace,
  DW_TAG.subprogram,
  DW_TAG.structure_type,
  DW_TAG.class_type,
  DW_TAG.union_type,
  DW_TAG.enumeration_type,
])

const POINTER_SIZE = 8

export class TypeReader {
  readonly #dies: DieTable
  readonly #sizeOfKey: (key: string) => number | undefined
  /** Names that typedefs give to what has none, by the row of the latter. */
  readonly #typedefNames = new Map<number, string>()
  readonly #refs = new Map<number, TypeRef>()
  readonly #keys = new Map<number, string | undefined>()

  /** @param sizeOfKey bytes of the definition that the file has under a key */
  constructor(dies: DieTable, sizeOfKey: (key: string) => number | undefined) {
    this.#dies = dies
    this.#sizeOfKey = sizeOfKey
    for (let row = 0; row < dies.count; row++) {
      if (dies.get(row, 'tag') !== DW_TAG.typedef) continue
      const target = this.follow(row, 'type')
      if (target !== undefined && this.isDefinable(target) && Number.isNaN(dies.get(target, 'name')) && !this.#typedefNames.has(target))
        this.#typedefNames.set(target, dies.text(dies.get(row, 'name')) ?? '')
    }
  }

  isDefinable(row: number): boolean {
    const tag = this.#dies.get(row, 'tag')
    return AGGREGATES.has(tag) || tag === DW_TAG.enumeration_type
  }

  follow(row: number, column: 'type' | 'origin' | 'signature'): number | undefined {
    return this.#dies.rowAt(this.#dies.get(row, column))
  }

  /** The entry that names a row: itself, or what it is an instance or the definition of. */
  named(row: number): number {
    let at = row
    for (let i = 0; i < DEEPEST; i++) {
      if (!Number.isNaN(this.#dies.get(at, 'name'))) return at
      const origin = this.follow(at, 'origin')
      if (origin === undefined) return at
      at = origin
    }
    return at
  }

  nameOf(row: number): string | undefined {
    return this.#dies.text(this.#dies.get(this.named(row), 'name'))
  }

  /** Of a struct, class, union or enum; undefined where it has no name, not even a typedef's. */
  keyOf(row: number): string | undefined {
    if (this.#keys.has(row)) return this.#keys.get(row)
    const key = this.#makeKey(row)
    this.#keys.set(row, key)
    return key
  }

  #makeKey(row: number): string | undefined {
    const own = this.#dies.text(this.#dies.get(row, 'name'))
    const name = own ?? this.#typedefNames.get(row)
    if (name === undefined || name === '') return undefined
    const scopes: string[] = []
    let parent = this.#scopeOf(row)
    for (let i = 0; parent >= 0 && i < DEEPEST; i++) {
      if (SCOPES.has(this.#dies.get(parent, 'tag'))) {
        const scope = this.nameOf(parent) ?? this.#typedefNames.get(parent)
        if (scope !== undefined) scopes.unshift(scope)
      }
      parent = this.#scopeOf(parent)
    }
    const tag = this.#dies.get(row, 'tag')
    const kind = own === undefined ? '' : `${AGGREGATES.get(tag) ?? 'enum'} `
    return `${kind}${[...scopes, name].join('::')}`
  }

  /** Row of what an entry lies in; for a definition apart from its declaration (in type units of gcc's), of what that lies in. */
  #scopeOf(row: number): number {
    const declaration = this.isDefinable(row) ? this.follow(row, 'origin') : undefined
    return this.#dies.get(declaration ?? row, 'parent')
  }

  ref(row: number | undefined, depth: number): TypeRef {
    if (row === undefined) return { kind: 'void' }
    const known = this.#refs.get(row)
    if (known !== undefined) return known
    if (depth > DEEPEST) return { kind: 'other', name: 'a type that nests too deeply', size: undefined }
    const made = this.#makeRef(row, depth)
    this.#refs.set(row, made)
    return made
  }

  #makeRef(row: number, depth: number): TypeRef {
    const dies = this.#dies
    const tag = dies.get(row, 'tag')
    const size = defined(dies.get(row, 'size'))
    if (QUALIFIERS.has(tag) || tag === DW_TAG.typedef) return this.ref(this.follow(row, 'type'), depth + 1)
    if (POINTERS.has(tag))
      return {
        kind: 'pointer',
        size: size ?? (tag === DW_TAG.ptr_to_member_type ? 2 * POINTER_SIZE : POINTER_SIZE),
        to: this.ref(this.follow(row, 'type'), depth + 1),
      }
    if (tag === DW_TAG.base_type)
      return {
        kind: 'base',
        name: dies.text(dies.get(row, 'name')) ?? '',
        size: size ?? 0,
        encoding: encodingOf(dies.get(row, 'encoding')),
      }
    if (tag === DW_TAG.array_type) return this.#array(row, depth)
    if (tag === DW_TAG.subroutine_type) return this.functionType(row, depth)
    if (this.isDefinable(row)) {
      const definition = this.follow(row, 'signature')
      const key = this.keyOf(definition ?? row)
      if (key !== undefined) return { kind: 'named', key, size: definition === undefined ? size : defined(dies.get(definition, 'size')) }
      return { kind: 'unnamed', type: this.definition(definition ?? row, depth + 1) }
    }
    return { kind: 'other', name: dies.text(dies.get(row, 'name')) ?? '', size }
  }

  #array(row: number, depth: number): TypeRef {
    const dies = this.#dies
    const counts: (number | undefined)[] = []
    for (const child of this.#children(row))
      if (dies.get(child, 'tag') === DW_TAG.subrange_type) counts.push(defined(dies.get(child, 'value')))
    let type = this.ref(this.follow(row, 'type'), depth + 1)
    for (const count of counts.reverse()) type = { kind: 'array', of: type, count }
    return type
  }

  functionType(row: number, depth: number): FunctionType {
    const dies = this.#dies
    const parameters: TypeRef[] = []
    let variadic = false
    for (const child of this.#children(row)) {
      const tag = dies.get(child, 'tag')
      if (tag === DW_TAG.formal_parameter) parameters.push(this.ref(this.follow(this.typed(child), 'type'), depth + 1))
      else if (tag === DW_TAG.unspecified_parameters) variadic = true
    }
    return {
      kind: 'function',
      returns: this.ref(this.follow(row, 'type'), depth + 1),
      parameters,
      variadic,
    }
  }

  /** The entry that has the type of a variable or parameter. */
  typed(row: number): number {
    let at = row
    for (let i = 0; i < DEEPEST && Number.isNaN(this.#dies.get(at, 'type')); i++) {
      const origin = this.follow(at, 'origin')
      if (origin === undefined) return at
      at = origin
    }
    return at
  }

  *#children(row: number): Generator<number> {
    const dies = this.#dies
    const end = dies.get(row, 'end')
    for (let child = row + 1; child < end; child = dies.get(child, 'end')) yield child
  }

  definition(row: number, depth: number): TypeDefinition {
    const dies = this.#dies
    const key = this.keyOf(row)
    const size = defined(dies.get(row, 'size')) ?? 0
    const kind = AGGREGATES.get(dies.get(row, 'tag'))
    if (kind === undefined) {
      const values: Enumeration['values'][number][] = []
      for (const child of this.#children(row))
        if (dies.get(child, 'tag') === DW_TAG.enumerator)
          values.push([dies.text(dies.get(child, 'name')) ?? '', defined(dies.get(child, 'value')) ?? 0])
      return { kind: 'enum', key, size, values }
    }
    const members: Member[] = []
    const virtuals: Aggregate['virtuals'][number][] = []
    for (const child of this.#children(row)) {
      const tag = dies.get(child, 'tag')
      if (tag === DW_TAG.member || tag === DW_TAG.inheritance) {
        const flags = dies.get(child, 'flags')
        // A static data member, as DWARF 4 has it.
        if ((flags & (DIE_FLAGS.declaration | DIE_FLAGS.external)) !== 0) continue
        members.push(this.#member(child, kind === 'union', depth))
      } else if (tag === DW_TAG.subprogram && !Number.isNaN(dies.get(child, 'slot'))) {
        virtuals.push({ name: dies.text(dies.get(child, 'linkageName')) ?? this.nameOf(child) ?? '', slot: dies.get(child, 'slot') })
      }
    }
    return { kind, key, size, members, virtuals }
  }

  #member(row: number, inUnion: boolean, depth: number): Member {
    const dies = this.#dies
    const type = this.ref(this.follow(row, 'type'), depth + 1)
    const bits = defined(dies.get(row, 'bitSize'))
    const size = sizeOfType(type, (key) => this.#sizeOfKey(key))
    return {
      name: dies.text(dies.get(row, 'name')),
      type,
      bitOffset: memberBitOffset(dies, row, size, inUnion),
      bitSize: bits ?? (size === undefined ? undefined : size * 8),
      bitField: bits !== undefined,
      inherited: dies.get(row, 'tag') === DW_TAG.inheritance,
    }
  }
}

const ENCODINGS: ReadonlyMap<number, BaseEncoding> = new Map([
  [DW_ATE.address, 'unsigned'],
  [DW_ATE.boolean, 'boolean'],
  [DW_ATE.complex_float, 'float'],
  [DW_ATE.float, 'float'],
  [DW_ATE.signed, 'signed'],
  [DW_ATE.signed_char, 'signed'],
  [DW_ATE.unsigned, 'unsigned'],
  [DW_ATE.unsigned_char, 'unsigned'],
  [DW_ATE.UTF, 'unsigned'],
])

const encodingOf = (encoding: number): BaseEncoding => ENCODINGS.get(encoding) ?? 'other'
