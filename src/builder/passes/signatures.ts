/**
 * Signatures and exports: what others call, and with what. Code of the program that did not change is the same in both builds, so it calls a
 * function with a new signature just as the program after does. Who may be wrong are callers that were not compiled anew: other modules,
 * and objects of which not a byte differs.
 */
import type { FunctionInfo } from '../../binary/types/model.ts'
import type { BaseImage } from '../base-image.ts'
import type { LinkGraph } from '../graph.ts'
import { sameType } from '../layouts/compare.ts'
import { describe } from '../layouts/describe.ts'
import { unversioned } from '../names.ts'
import { primarySymbol } from '../places.ts'
import type { Program } from '../program.ts'
import { type Reason, reason } from '../reasons.ts'
import type { Change } from './classify.ts'

export interface JudgedSignatures {
  readonly reasons: readonly Reason[]
  /** Functions that other objects can see and that take or give something else now. */
  readonly changed: ReadonlySet<string>
  /** Those of them that a program exports: the patch is right where no other module of the process names one. By name, ascending. */
  readonly mustBeUnused: readonly string[]
}

export function judgeSignatures(program: Program, changes: readonly Change[], base: BaseImage): JudgedSignatures {
  const exported = new Set(base.symbols.filter((symbol) => symbol.exported).map(({ name }) => unversioned(name)))
  const judged = [...signaturesChanged(program, exported, base)]
  return {
    reasons: [...exportsRemoved(changes, program, exported, base), ...judged.flatMap(({ reasons }) => reasons)],
    changed: new Set(judged.map(({ name }) => name)),
    mustBeUnused: [...new Set(judged.flatMap(({ name, mustBeUnused }) => (mustBeUnused ? [name] : [])))].sort(),
  }
}

function* exportsRemoved(changes: readonly Change[], program: Program, exported: ReadonlySet<string>, base: BaseImage): Generator<Reason> {
  const kept = new Set(
    program.pairs.flatMap(
      ({ after }) => after?.symbols.flatMap((s) => (s.block === undefined || s.binding === 'local' ? [] : [s.name])) ?? [],
    ),
  )
  for (const { change, before, file } of changes) {
    const symbol = change === 'removed' && before !== undefined ? primarySymbol(before.block) : undefined
    if (symbol === undefined || symbol.binding === 'local' || !exported.has(symbol.name) || kept.has(symbol.name)) continue
    // What was bound stays bound: the base image keeps what it has. Only who relies on what the removal says is wrong, and of a program nobody does.
    if (base.isProgram) yield reason('EXPORT_REMOVED', symbol.name, file, `was exported by ${base.name} and is no more`)
    else yield reason('EXPORT_CHANGED', symbol.name, file, 'was exported and is no more')
  }
}

interface JudgedSignature {
  readonly name: string
  readonly reasons: readonly Reason[]
  readonly mustBeUnused: boolean
}

function* signaturesChanged(program: Program, exported: ReadonlySet<string>, base: BaseImage): Generator<JudgedSignature> {
  for (const { path, before, after } of program.pairs) {
    if (before === undefined || after === undefined) continue
    const functionsAfter = externals(after)
    for (const [name, b] of externals(before)) {
      const a = functionsAfter.get(name)
      if (a === undefined || sameType(b.type, a.type) !== 'different') continue
      const told = `${describe(b.type)} before, ${describe(a.type)} after`
      const mustBeUnused = exported.has(name) && usersHaveNames(base)
      const reasons: Reason[] = []
      if (mustBeUnused) reasons.push(reason('EXPORT_RETYPED', name, path, told))
      else if (exported.has(name)) reasons.push(reason('EXPORT_CHANGED', name, path, `${told}; other modules call it as it was`))
      const caller = program.identical.find((lazy) => refersTo(lazy.graph(), name))
      if (caller !== undefined)
        reasons.push(reason('SIGNATURE_CHANGED', name, path, `${told}; ${caller.path} refers to it and did not change`))
      yield { name, reasons, mustBeUnused }
    }
  }
}

/**
 * Whether the engine can tell in a process who uses an export: what nobody links against but plug-ins, and only by name. A library's exports are what
 * it is for; those of a PE are also found by number.
 */
const usersHaveNames = ({ format, isProgram }: BaseImage): boolean => format === 'elf' && isProgram

/** Functions with code that other objects can see, by their linker's name. */
function externals(graph: LinkGraph): Map<string, FunctionInfo> {
  const functions = graph.types?.()?.functions() ?? []
  return new Map(functions.flatMap((f) => (f.code && f.external ? [[f.name, f] as const] : [])))
}

const refersTo = (graph: LinkGraph, name: string): boolean =>
  graph.symbols.some((symbol) => symbol.block === undefined && symbol.name.replace(/^__imp_/, '') === name)
