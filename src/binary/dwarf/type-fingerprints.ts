/**
 * Fingerprints of layouts, made from the rows alone: nearly all types of two builds are the same, and only those that are not are worth
 * making objects of. 64 bits by two multiplicative hashes.
 */
import type { DieTable } from './debug-info.ts'
import { DIE_FLAGS } from './debug-info-columns.ts'
import { DW_TAG } from './debug-info-definitions.ts'
import { DEEPEST, memberBitOffset, POINTERS, QUALIFIERS } from './type-entries.ts'

export class Fingerprints {
  readonly #dies: DieTable
  readonly #keyOf: (row: number) => string | undefined
  readonly #texts = new Map<number, number>()
  readonly #types = new Map<number, Hash>()
  readonly #definitions = new Map<number, string>()

  /** @param keyOf the key of the struct, class, union or enum in a row */
  constructor(dies: DieTable, keyOf: (row: number) => string | undefined) {
    this.#dies = dies
    this.#keyOf = keyOf
  }

  /** Of the definition in a row. */
  definition(row: number): string {
    let known = this.#definitions.get(row)
    if (known === undefined) {
      const hash = new Hash()
      this.#addDefinition(hash, row, 0)
      known = hash.text
      this.#definitions.set(row, known)
    }
    return known
  }

  #addDefinition(hash: Hash, row: number, depth: number): void {
    const dies = this.#dies
    const tag = dies.get(row, 'tag')
    hash.add(tag)
    hash.add(dies.get(row, 'size'))
    const end = dies.get(row, 'end')
    for (let child = row + 1; child < end; child = dies.get(child, 'end')) {
      switch (dies.get(child, 'tag')) {
        case DW_TAG.enumerator:
          hash.add(this.#text(dies.get(child, 'name')))
          hash.add(dies.get(child, 'value'))
          break
        case DW_TAG.member:
        case DW_TAG.inheritance:
          if ((dies.get(child, 'flags') & (DIE_FLAGS.declaration | DIE_FLAGS.external)) !== 0) break
          hash.add(this.#text(dies.get(child, 'name')))
          hash.add(memberBitOffset(dies, child, this.#sizeAt(dies.get(child, 'type')), tag === DW_TAG.union_type) ?? -1)
          hash.add(dies.get(child, 'bitSize'))
          hash.mix(this.#type(dies.get(child, 'type'), depth + 1))
          break
        case DW_TAG.subprogram:
          if (Number.isNaN(dies.get(child, 'slot'))) break
          hash.add(this.#text(dies.get(child, 'linkageName')))
          hash.add(this.#text(dies.get(child, 'name')))
          hash.add(dies.get(child, 'slot'))
      }
    }
  }

  /** Bytes of the type at a place, where that is simple. */
  #sizeAt(place: number): number | undefined {
    let row = this.#dies.rowAt(place)
    for (let i = 0; row !== undefined && i < DEEPEST; i++) {
      const size = this.#dies.get(row, 'size')
      if (!Number.isNaN(size)) return size
      row = this.#dies.rowAt(this.#dies.get(row, 'type'))
    }
    return undefined
  }

  #type(place: number, depth: number): Hash {
    const row = this.#dies.rowAt(place)
    if (row === undefined) return Hash.of(0)
    const known = this.#types.get(row)
    if (known !== undefined) return known
    if (depth > DEEPEST) return Hash.of(1)
    // Types that refer to themselves do so through something that has a key.
    const made = this.#makeType(row, depth)
    this.#types.set(row, made)
    return made
  }

  #makeType(row: number, depth: number): Hash {
    const dies = this.#dies
    const tag = dies.get(row, 'tag')
    if (tag === DW_TAG.typedef || QUALIFIERS.has(tag)) return this.#type(dies.get(row, 'type'), depth + 1)
    const hash = new Hash()
    switch (tag) {
      case DW_TAG.structure_type:
      case DW_TAG.class_type:
      case DW_TAG.union_type:
      case DW_TAG.enumeration_type:
      case DW_TAG.interface_type: {
        const definition = dies.rowAt(dies.get(row, 'signature')) ?? row
        const key = this.#keyOf(definition)
        if (key === undefined) this.#addDefinition(hash, definition, depth + 1)
        else hash.add(hashText(key))
        return hash
      }
      case DW_TAG.array_type:
        hash.add(tag)
        for (let child = row + 1; child < dies.get(row, 'end'); child = dies.get(child, 'end')) hash.add(dies.get(child, 'value'))
        break
      case DW_TAG.subroutine_type:
        hash.add(tag)
        for (let child = row + 1; child < dies.get(row, 'end'); child = dies.get(child, 'end')) {
          hash.add(dies.get(child, 'tag'))
          hash.mix(this.#type(dies.get(child, 'type'), depth + 1))
        }
        break
      case DW_TAG.base_type:
        hash.add(dies.get(row, 'size'))
        hash.add(dies.get(row, 'encoding'))
        return hash
      default:
        hash.add(POINTERS.has(tag) ? DW_TAG.pointer_type : tag)
    }
    hash.mix(this.#type(dies.get(row, 'type'), depth + 1))
    return hash
  }

  #text(handle: number): number {
    if (Number.isNaN(handle)) return 0
    let known = this.#texts.get(handle)
    if (known === undefined) {
      known = hashText(this.#dies.text(handle) ?? '')
      this.#texts.set(handle, known)
    }
    return known
  }
}

function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

class Hash {
  #a = 0x9e3779b9
  #b = 0x7f4a7c15

  static of(value: number): Hash {
    const hash = new Hash()
    hash.add(value)
    return hash
  }

  /** NaN counts as a value of its own. */
  add(value: number): void {
    const low = Number.isNaN(value) ? 0x5bd1e995 : value | 0
    const high = Number.isNaN(value) ? 0x27d4eb2f : Math.floor(value / 0x100000000) | 0
    this.#step(low)
    this.#step(high)
  }

  mix(other: Hash): void {
    this.#step(other.#a)
    this.#step(other.#b)
  }

  #step(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x85ebca6b)
    this.#a ^= this.#a >>> 13
    this.#b = Math.imul(this.#b + value, 0xc2b2ae35)
    this.#b ^= this.#b >>> 16
  }

  get text(): string {
    return `${(this.#a >>> 0).toString(16)}${(this.#b >>> 0).toString(16).padStart(8, '0')}`
  }
}
