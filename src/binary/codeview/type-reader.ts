/** Types of the model from CodeView's type records. */
import type { Enumeration, FunctionType, Member, TypeDefinition, TypeRef } from '../types/model.ts'
import { sizeOfType } from '../types/size.ts'
import { fieldsOfList, type ListedField } from './field-list.ts'
import { Fields } from './records.ts'
import { FIRST_INDEX, LF, SIMPLE_TYPES } from './type-definitions.ts'
import { addTo, type Head, type TypeRecords } from './type-records.ts'

/** How deep types may nest; compilers' own limits are lower. */
const DEEPEST = 256

/** Names that typedefs (S_UDT, LF_ALIAS) give to types, by type index: where equal records are kept once, several to one. */
export type TypedefNames = ReadonlyMap<number, readonly string[]>

export class CodeViewTypeReader {
  readonly #records: TypeRecords
  readonly #typedefNames: TypedefNames
  readonly #refs = new Map<number, TypeRef>()
  /** Definitions that have a name by their typedefs only, by each of these. */
  readonly #unnamed = new Map<string, number[]>()

  constructor(records: TypeRecords, typedefNames: TypedefNames) {
    this.#records = records
    this.#typedefNames = typedefNames
    for (const [index, names] of typedefNames) {
      const head = records.head(index)
      if (head !== undefined && !head.isForward && head.name === undefined) for (const name of names) addTo(this.#unnamed, name, index)
    }
  }

  /** Throws TRUNCATED, MALFORMED, as everything here. */
  get keys(): readonly string[] {
    return [...this.#records.named.keys(), ...this.#unnamed.keys()]
  }

  /** By ascending index: the newest last. */
  definitions(key: string): TypeDefinition[] {
    return this.#rowsOf(key).map((index) => this.#definition(index, 0))
  }

  #rowsOf(key: string): readonly number[] {
    return this.#records.named.get(key) ?? this.#unnamed.get(key) ?? []
  }

  /** What the index of a function's type stands for. */
  functionType(index: number): FunctionType | undefined {
    const ref = this.ref(index, 0)
    return ref.kind === 'function' ? ref : undefined
  }

  /** The same of its item (LF_FUNC_ID, LF_MFUNC_ID), or of its type where older compilers give that. */
  typeOfFunctionItem(index: number): FunctionType | undefined {
    const record = this.#records.item(index)
    const isItem = record?.kind === LF.FUNC_ID || record?.kind === LF.MFUNC_ID
    // An item leads to a type; damaged ones lead to themselves.
    return this.functionType(isItem ? new Fields(record.data, 4).u32() : index)
  }

  #keyOf(index: number, { kind, name }: Head): string | undefined {
    return name === undefined ? this.#typedefNames.get(index)?.[0] : `${kind} ${name}`
  }

  ref(index: number, depth: number): TypeRef {
    if (index < FIRST_INDEX) return simple(index)
    const known = this.#refs.get(index)
    if (known !== undefined) return known
    if (depth > DEEPEST) return { kind: 'other', name: 'a type that nests too deeply', size: undefined }
    const made = this.#makeRef(index, depth)
    this.#refs.set(index, made)
    return made
  }

  /** What comes first refers to nothing that comes later; where damaged data do, depth ends it. */
  #makeRef(index: number, depth: number): TypeRef {
    const record = this.#records.type(index)
    if (record === undefined) return { kind: 'other', name: `type 0x${index.toString(16)}`, size: undefined }
    const fields = new Fields(record.data)
    switch (record.kind) {
      case LF.MODIFIER:
      case LF.ALIAS:
        return this.ref(fields.u32(), depth + 1)
      case LF.BITFIELD:
        return this.ref(fields.u32(), depth + 1)
      case LF.POINTER: {
        const to = fields.u32()
        const size = (fields.u32() >>> 13) & 0x3f
        return { kind: 'pointer', size: size || 8, to: this.ref(to, depth + 1) }
      }
      case LF.ARRAY:
        return this.#array(fields, depth)
      case LF.PROCEDURE:
      case LF.MFUNCTION:
        return this.#function(record.kind, fields, depth)
    }
    const head = this.#records.head(index)
    if (head === undefined) return { kind: 'other', name: `record 0x${record.kind.toString(16)}`, size: undefined }
    const key = this.#keyOf(index, head)
    if (key !== undefined) return { kind: 'named', key, size: head.isForward ? undefined : this.#sizeOf(head) }
    return { kind: 'unnamed', type: this.#definition(index, depth + 1) }
  }

  #array(fields: Fields, depth: number): TypeRef {
    const of = this.ref(fields.u32(), depth + 1)
    fields.u32()
    const size = fields.numeric()
    const one = sizeOfType(of, (key) => this.#sizeOfKey(key))
    return { kind: 'array', of, count: one === undefined || one === 0 || size === 0 ? undefined : size / one }
  }

  #function(kind: number, fields: Fields, depth: number): FunctionType {
    const returns = this.ref(fields.u32(), depth + 1)
    const self: TypeRef[] = []
    if (kind === LF.MFUNCTION) {
      fields.u32()
      const pointer = fields.u32()
      if (pointer !== 0) self.push(this.ref(pointer, depth + 1))
    }
    fields.u32()
    const list = this.#records.type(fields.u32())
    const parameters: number[] = []
    if (list?.kind === LF.ARGLIST) {
      const arguments_ = new Fields(list.data)
      const count = arguments_.u32()
      for (let i = 0; i < count; i++) parameters.push(arguments_.u32())
    }
    // `...` is an argument without type.
    const variadic = parameters.at(-1) === 0
    const named = variadic ? parameters.slice(0, -1) : parameters
    return { kind: 'function', returns, parameters: [...self, ...named.map((index) => this.ref(index, depth + 1))], variadic }
  }

  #sizeOf({ kind, size, underlying }: Head): number {
    // What lies under an enum is no record.
    return kind === 'enum' ? (sizeOfType(simple(underlying), () => undefined) ?? 0) : size
  }

  #sizeOfKey(key: string): number | undefined {
    const [index] = this.#rowsOf(key)
    const head = index === undefined ? undefined : this.#records.head(index)
    return head && this.#sizeOf(head)
  }

  #definition(index: number, depth: number): TypeDefinition {
    const head = this.#records.head(index) as Head
    const key = this.#keyOf(index, head)
    const size = this.#sizeOf(head)
    const listed = fieldsOfList(head.fieldList, (at) => this.#records.type(at))
    if (head.kind === 'enum') {
      const values: Enumeration['values'] = listed.flatMap((f) => (f.what === 'value' ? [[f.name, f.value] as const] : []))
      return { kind: 'enum', key, size, values }
    }
    return {
      kind: head.kind,
      key,
      size,
      members: listed.flatMap((f) => this.#member(f, depth)).sort((a, b) => Number(b.inherited) - Number(a.inherited)),
      virtuals: listed.flatMap((f) => (f.what === 'virtual' ? [{ name: f.name, slot: f.slot }] : [])),
    }
  }

  #member(field: ListedField, depth: number): Member[] {
    if (field.what !== 'member' && field.what !== 'base') return []
    const record = this.#records.type(field.type)
    const type = this.ref(field.type, depth + 1)
    const bits = record?.kind === LF.BITFIELD ? new Fields(record.data, 4) : undefined
    const size = sizeOfType(type, (key) => this.#sizeOfKey(key))
    const bitSize = bits?.u8() ?? (size === undefined ? undefined : size * 8)
    const position = bits?.u8() ?? 0
    return [
      {
        name: field.what === 'base' || field.name === '' ? undefined : field.name,
        type,
        bitOffset: field.offset === undefined ? undefined : field.offset * 8 + position,
        bitSize,
        bitField: bits !== undefined,
        inherited: field.what === 'base',
      },
    ]
  }
}

/** An index below 0x1000: the type in its low byte, in bits 8 to 11 how a pointer leads to it. */
function simple(index: number): TypeRef {
  // decltype(nullptr) has an index of its own.
  if (index === 0x103) return { kind: 'other', name: 'decltype(nullptr)', size: 8 }
  const [name, size, encoding] = SIMPLE_TYPES[index & 0xff] ?? []
  const isVoid = (index & 0xff) === 0 || (index & 0xff) === 3
  const direct: TypeRef =
    name === undefined || size === undefined || encoding === undefined
      ? isVoid
        ? { kind: 'void' }
        : { kind: 'other', name: `type 0x${index.toString(16)}`, size: undefined }
      : { kind: 'base', name, size, encoding }
  const mode = index >> 8
  return mode === 0 ? direct : { kind: 'pointer', size: mode === 6 ? 8 : mode === 7 ? 16 : mode >= 4 ? 4 : 2, to: direct }
}
