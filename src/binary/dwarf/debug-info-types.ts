/** DWARF's entries as types, functions and variables of the model. */
import type { DebugTypes, FunctionInfo, TypeDefinition, VariableInfo } from '../types/model.ts'
import { type DieTable, readDebugInfo } from './debug-info.ts'
import { DIE_FLAGS } from './debug-info-columns.ts'
import { DW_TAG } from './debug-info-definitions.ts'
import type { DebugSections } from './debug-sections.ts'
import { DEEPEST, defined } from './type-entries.ts'
import { Fingerprints } from './type-fingerprints.ts'
import { TypeReader } from './type-reader.ts'

/** Throws TRUNCATED, MALFORMED. */
export function dwarfTypes(sections: DebugSections): DebugTypes {
  return new DwarfTypes(readDebugInfo(sections))
}

class DwarfTypes implements DebugTypes {
  readonly format = 'dwarf'
  readonly shared = undefined
  readonly #dies: DieTable
  /** Rows of definitions by key. */
  readonly #definitions = new Map<string, number[]>()
  readonly #reader: TypeReader
  readonly #fingerprints: Fingerprints
  #keys: readonly string[] | undefined
  #functions: readonly FunctionInfo[] | undefined
  #variables: readonly VariableInfo[] | undefined

  constructor(dies: DieTable) {
    this.#dies = dies
    const sizeOfKey = (key: string): number | undefined => {
      const [row] = this.#definitions.get(key) ?? []
      return row === undefined ? undefined : defined(dies.get(row, 'size'))
    }
    this.#reader = new TypeReader(dies, sizeOfKey)
    for (let row = 0; row < dies.count; row++) {
      if (!this.#reader.isDefinable(row) || (dies.get(row, 'flags') & DIE_FLAGS.declaration) !== 0) continue
      const key = this.#reader.keyOf(row)
      if (key === undefined) continue
      const known = this.#definitions.get(key)
      if (known === undefined) this.#definitions.set(key, [row])
      else known.push(row)
    }
    this.#fingerprints = new Fingerprints(dies, (row) => this.#reader.keyOf(row))
  }

  get keys(): readonly string[] {
    this.#keys ??= [...this.#definitions.keys()]
    return this.#keys
  }

  fingerprint(key: string): string | undefined {
    const rows = this.#definitions.get(key)
    if (rows === undefined) return undefined
    return [...new Set(rows.map((row) => this.#fingerprints.definition(row)))].sort().join()
  }

  definitions(key: string): readonly TypeDefinition[] {
    const distinct = new Map<string, number>()
    for (const row of this.#definitions.get(key) ?? []) {
      const print = this.#fingerprints.definition(row)
      if (!distinct.has(print)) distinct.set(print, row)
    }
    return [...distinct.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => this.#reader.definition(row, 0))
  }

  functions(): readonly FunctionInfo[] {
    this.#functions ??= this.#readFunctions()
    return this.#functions
  }

  variables(): readonly VariableInfo[] {
    this.#variables ??= this.#rowsOf(DW_TAG.variable).flatMap((row) => {
      const variable = this.#variable(row)
      return variable === undefined || variable.storage === 'frame' ? [] : [variable]
    })
    return this.#variables
  }

  #rowsOf(tag: number): number[] {
    const rows: number[] = []
    for (let row = 0; row < this.#dies.count; row++) if (this.#dies.get(row, 'tag') === tag) rows.push(row)
    return rows
  }

  #readFunctions(): FunctionInfo[] {
    return this.#rowsOf(DW_TAG.subprogram).flatMap((row): FunctionInfo[] => {
      const dies = this.#dies
      const origin = this.#reader.named(row)
      const name = dies.text(dies.get(row, 'linkageName')) ?? this.#linkageOf(row) ?? dies.text(dies.get(origin, 'name'))
      if (name === undefined) return []
      const flagsOfAll = dies.get(row, 'flags') | dies.get(origin, 'flags')
      let variables: readonly VariableInfo[] | undefined
      return [
        {
          name,
          // Instances repeat only those parameters that they have kept.
          type: this.#reader.functionType(origin, 0),
          external: (flagsOfAll & DIE_FLAGS.external) !== 0,
          code: (dies.get(row, 'flags') & DIE_FLAGS.code) !== 0,
          variables: () => {
            variables ??= this.#variablesWithin(row)
            return variables
          },
        },
      ]
    })
  }

  #linkageOf(row: number): string | undefined {
    let at: number | undefined = row
    for (let i = 0; at !== undefined && i < DEEPEST; i++) {
      const name = this.#dies.text(this.#dies.get(at, 'linkageName'))
      if (name !== undefined) return name
      at = this.#reader.follow(at, 'origin')
    }
    return undefined
  }

  #variablesWithin(row: number): VariableInfo[] {
    const dies = this.#dies
    const found: VariableInfo[] = []
    const end = dies.get(row, 'end')
    for (let at = row + 1; at < end; at++) {
      const tag = dies.get(at, 'tag')
      if (tag !== DW_TAG.variable && tag !== DW_TAG.formal_parameter) continue
      const variable = this.#variable(at)
      if (variable !== undefined) found.push(variable)
    }
    return found
  }

  #variable(row: number): VariableInfo | undefined {
    const dies = this.#dies
    const typed = this.#reader.typed(row)
    const type = this.#reader.follow(typed, 'type')
    if (type === undefined) return undefined
    const flags = dies.get(row, 'flags') | dies.get(this.#reader.named(row), 'flags')
    const parameter = dies.get(row, 'tag') === DW_TAG.formal_parameter
    const everyones = (flags & (DIE_FLAGS.static | DIE_FLAGS.external)) !== 0 || this.#isAtFileScope(row)
    return {
      name: this.#reader.nameOf(row) ?? '',
      type: this.#reader.ref(type, 0),
      storage: (flags & DIE_FLAGS.thread) !== 0 ? 'thread' : parameter ? 'parameter' : everyones ? 'static' : 'frame',
      declared: (flags & DIE_FLAGS.declaration) !== 0 && (flags & DIE_FLAGS.located) === 0,
    }
  }

  #isAtFileScope(row: number): boolean {
    const dies = this.#dies
    const tag = dies.get(dies.get(row, 'parent'), 'tag')
    return tag === DW_TAG.compile_unit || tag === DW_TAG.partial_unit || tag === DW_TAG.namespace
  }
}
