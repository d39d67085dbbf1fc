/** The type records of one object or PDB by their indices, and the heads of what they define: read once, whoever gives its names. */
import { type CodeViewRecord, Fields } from './records.ts'
import { AGGREGATES, FIRST_INDEX, FORWARD_REFERENCE, LF } from './type-definitions.ts'

/** The head of a struct, class, union or enum. */
export interface Head {
  readonly kind: 'struct' | 'class' | 'union' | 'enum'
  readonly isForward: boolean
  readonly fieldList: number
  /** Of an enum its underlying type. */
  readonly underlying: number
  /** Bytes; of an enum 0. */
  readonly size: number
  /** undefined: it has none of its own. */
  readonly name: string | undefined
}

export class TypeRecords {
  readonly #types: readonly CodeViewRecord[]
  readonly #items: readonly CodeViewRecord[]
  readonly #heads = new Map<number, Head | undefined>()
  #named: ReadonlyMap<string, readonly number[]> | undefined
  #aliases: ReadonlyMap<number, string> | undefined

  /** @param items what functions are known by; in objects among the types, in a PDB a stream of its own (IPI) with indices of its own */
  constructor(types: readonly CodeViewRecord[], items: readonly CodeViewRecord[] = types) {
    this.#types = types
    this.#items = items
  }

  type(index: number): CodeViewRecord | undefined {
    return this.#types[index - FIRST_INDEX]
  }

  item(index: number): CodeViewRecord | undefined {
    return this.#items[index - FIRST_INDEX]
  }

  /** undefined: the record is none of a struct, class, union or enum. Throws TRUNCATED, MALFORMED. */
  head(index: number): Head | undefined {
    if (!this.#heads.has(index)) this.#heads.set(index, headOf(this.type(index)))
    return this.#heads.get(index)
  }

  /** Definitions by kind and name, `struct conn`: those that have a name of their own. Throws TRUNCATED, MALFORMED. */
  get named(): ReadonlyMap<string, readonly number[]> {
    this.#named ??= this.#readNamed()
    return this.#named
  }

  #readNamed(): Map<string, number[]> {
    const named = new Map<string, number[]>()
    for (let row = 0; row < this.#types.length; row++) {
      const head = this.head(FIRST_INDEX + row)
      if (head === undefined || head.isForward || head.name === undefined) continue
      addTo(named, `${head.kind} ${head.name}`, FIRST_INDEX + row)
    }
    return named
  }

  /** Names that records of their own (LF_ALIAS) give to types, by the type's index. */
  get aliases(): ReadonlyMap<number, string> {
    this.#aliases ??= this.#readAliases()
    return this.#aliases
  }

  #readAliases(): Map<number, string> {
    const aliases = new Map<number, string>()
    for (const [i, { kind, data }] of this.#types.entries()) {
      if (kind !== LF.ALIAS) continue
      const fields = new Fields(data)
      const target = fields.u32()
      if (target < FIRST_INDEX + i && !aliases.has(target)) aliases.set(target, fields.text())
    }
    return aliases
  }
}

export function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const known = lists.get(key)
  if (known === undefined) lists.set(key, [value])
  else known.push(value)
}

/** What compilers write for a type without a name; scopes may stand before it. */
const UNNAMED = /(^|::)<(unnamed|anonymous)-[^>]*>$|^(__unnamed)?$/

function headOf(record: CodeViewRecord | undefined): Head | undefined {
  const kind = record && (record.kind === LF.ENUM ? 'enum' : AGGREGATES[record.kind])
  if (record === undefined || kind === undefined) return undefined
  const fields = new Fields(record.data, 2)
  const isForward = (fields.u16() & FORWARD_REFERENCE) !== 0
  const underlying = kind === 'enum' ? fields.u32() : 0
  const fieldList = fields.u32()
  if (kind === 'struct' || kind === 'class') {
    // Derivation list and shape of the virtual table.
    fields.u32()
    fields.u32()
  }
  const size = kind === 'enum' ? 0 : fields.numeric()
  const name = fields.text()
  return { kind, isForward, fieldList, underlying, size, name: UNNAMED.test(name) ? undefined : name }
}
