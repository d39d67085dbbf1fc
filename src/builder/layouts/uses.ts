/** Who uses a type: where objects of it can live, and which code gets at them. */
import type { Aggregate, DebugTypes, FunctionInfo, TypeRef, VariableInfo } from '../../binary/types/model.ts'
import type { LinkGraph } from '../graph.ts'

/** Everything is what the debug information of the given objects says; `file` is the object's path. */
export interface Uses {
  /** Aggregates that hold it, at whatever depth. */
  readonly containers: readonly Use[]
  /** Variables of the process or of each thread that hold it. */
  readonly statics: readonly Use[]
  /** Functions in whose frames it lies. */
  readonly frames: readonly FunctionUse[]
  /** Members and variables of the process that can keep a pointer to it. */
  readonly keptPointers: readonly Use[]
  /** Functions that are given a pointer to it. */
  readonly parameters: readonly FunctionUse[]
  /** Functions with a variable that points to it and is no parameter. */
  readonly pointerVariables: readonly FunctionUse[]
  /** Functions that give a pointer to it back. */
  readonly returns: readonly FunctionUse[]
}

export interface Use {
  readonly name: string
  readonly file: string
}

export interface FunctionUse extends Use {
  readonly graph: LinkGraph
  readonly info: FunctionInfo
}

type Relation = 'holds' | 'points'

const DEEPEST = 64

/** `holds` keys that lie in the type itself; `points` where it leads to one through pointers, whatever is done with those. */
export function relation(type: TypeRef, keys: ReadonlySet<string>, depth = 0): Relation | undefined {
  if (depth > DEEPEST) return undefined
  switch (type.kind) {
    case 'named':
      return keys.has(type.key) ? 'holds' : undefined
    case 'array':
      return relation(type.of, keys, depth + 1)
    case 'pointer':
      return relation(type.to, keys, depth + 1) === undefined ? undefined : 'points'
    case 'function':
      return [type.returns, ...type.parameters].some((part) => relation(part, keys, depth + 1) !== undefined) ? 'points' : undefined
    case 'unnamed':
      return type.type.kind === 'enum' ? undefined : relationOfMembers(type.type, keys, depth + 1)
    default:
      return undefined
  }
}

function relationOfMembers({ members }: Aggregate, keys: ReadonlySet<string>, depth: number): Relation | undefined {
  let found: Relation | undefined
  for (const { type } of members) {
    const r = relation(type, keys, depth)
    if (r === 'holds') return r
    found ??= r
  }
  return found
}

type Draft = { -readonly [K in keyof Uses]: Uses[K][number][] }

/** @param graphs of the build before */
export function usesOf(key: string, graphs: Iterable<LinkGraph>): Uses {
  const uses: Draft = {
    containers: [],
    statics: [],
    frames: [],
    keptPointers: [],
    parameters: [],
    pointerVariables: [],
    returns: [],
  }
  for (const graph of graphs) {
    const types = graph.types?.()
    if (types !== undefined) collect(key, graph, types, uses)
  }
  return uses
}

function collect(key: string, graph: LinkGraph, types: DebugTypes, uses: Draft): void {
  const file = graph.path
  const { keys, containers, keptPointers } = holdersOf(key, types)
  uses.containers.push(...containers.map((name) => ({ name, file })))
  uses.keptPointers.push(...keptPointers.map((name) => ({ name, file })))
  for (const variable of types.variables()) {
    const r = relation(variable.type, keys)
    if (r !== undefined) (r === 'holds' ? uses.statics : uses.keptPointers).push({ name: variable.name, file })
  }
  for (const info of types.functions()) if (info.code) collectFunction(info, graph, keys, uses)
}

function collectFunction(info: FunctionInfo, graph: LinkGraph, keys: ReadonlySet<string>, uses: Draft): void {
  const use: FunctionUse = { name: info.name, file: graph.path, graph, info }
  const variables = info.variables()
  const any = (test: (variable: VariableInfo, r: Relation) => boolean) =>
    variables.some((variable) => {
      const r = relation(variable.type, keys)
      return r !== undefined && test(variable, r)
    })
  const byValue = [info.type.returns, ...info.type.parameters].some((type) => relation(type, keys) === 'holds')
  if (byValue || any(({ storage }, r) => r === 'holds' && (storage === 'frame' || storage === 'parameter'))) uses.frames.push(use)
  if (
    any(({ storage }, r) => r === 'points' && storage === 'parameter') ||
    info.type.parameters.some((p) => relation(p, keys) === 'points')
  )
    uses.parameters.push(use)
  if (any(({ storage }, r) => r === 'points' && storage === 'frame')) uses.pointerVariables.push(use)
  if (relation(info.type.returns, keys) === 'points') uses.returns.push(use)
}

/** Which types hold one or point to it. */
interface Holders {
  /** The type, and what holds it at whatever depth. */
  readonly keys: ReadonlySet<string>
  readonly containers: readonly string[]
  /** `struct conn.next` */
  readonly keptPointers: readonly string[]
}

/** By the list of keys, which objects that share their types have in common. */
const known = new WeakMap<
  object,
  { readonly aggregates: readonly (readonly [string, Aggregate])[]; readonly holders: Map<string, Holders> }
>()

function holdersOf(key: string, types: DebugTypes): Holders {
  const list = types.keys
  const { aggregates, holders } = known.get(list) ?? { aggregates: aggregatesOf(types), holders: new Map<string, Holders>() }
  known.set(list, { aggregates, holders })
  const found = holders.get(key) ?? findHolders(key, aggregates)
  holders.set(key, found)
  return found
}

function findHolders(key: string, aggregates: readonly (readonly [string, Aggregate])[]): Holders {
  const keys = new Set([key])
  const containers: string[] = []
  for (let learnt = true; learnt; ) {
    learnt = false
    for (const [name, aggregate] of aggregates) {
      if (keys.has(name) || relationOfMembers(aggregate, keys, 0) !== 'holds') continue
      keys.add(name)
      containers.push(name)
      learnt = true
    }
  }
  const keptPointers = aggregates.flatMap(([name, { members }]) =>
    members.flatMap((member) => (relation(member.type, keys) === 'points' ? [`${name}.${member.name ?? ''}`] : [])),
  )
  return { keys, containers, keptPointers }
}

const aggregatesOf = (types: DebugTypes): (readonly [string, Aggregate])[] =>
  [...types.keys].flatMap((key) =>
    types.definitions(key).flatMap((definition) => (definition.kind === 'enum' ? [] : [[key, definition] as const])),
  )

/** How many users a sentence names. */
const NAMED = 6

/** Who uses it, in words: variables first, since they are what lives on. */
export function describeUses(uses: Uses): string {
  const list = (what: string, all: readonly Use[]) => {
    const names = [...new Set(all.map(({ name }) => name))]
    const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : ''
    return names.length === 0 ? [] : [`${what} ${names.slice(0, NAMED).join(', ')}${more}`]
  }
  const functions = [...uses.frames, ...uses.parameters, ...uses.pointerVariables, ...uses.returns]
  const parts = [
    ...list('lies in', uses.containers),
    ...list('the variables', uses.statics),
    ...list('reached through', uses.keptPointers),
    ...list('used in', functions),
  ]
  return parts.join('; ') || 'nobody that the debug information names'
}
