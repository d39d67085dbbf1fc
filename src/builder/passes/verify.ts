/**
 * Verification comes last and collects every reason before anything is refused. What the symbol table says is held against what the
 * machine code of the base image says: each reference of an old function that is replaced must lead to where its target was located.
 */
import { architectureOf } from '../../machine/architectures.ts'
import { EDGE_KINDS, isBranchKind } from '../../machine/edges.ts'
import type { Block, Edge, LinkGraph } from '../graph.ts'
import { unversioned } from '../names.ts'
import { entryOf, isAnonymous, isThreadLocal, parentName } from '../places.ts'
import { beforeGraphs, mentioning, type Program } from '../program.ts'
import { type Reason, reason, sortReasons } from '../reasons.ts'
import type { Choice, ChosenFunction } from './choose.ts'
import type { Locator } from './locate.ts'
import { importBehind, seenTarget } from './read-references.ts'

export function verify(program: Program, choice: Choice, locator: Locator, reasons: readonly Reason[]): Reason[] {
  const found = [...reasons]
  for (const chosen of choice.functions) found.push(...contradictions(chosen, locator), ...lodgers(chosen, program, locator))
  const machines = new Set(program.pairs.flatMap((p) => [p.before?.machine, p.after?.machine]).filter((m) => m !== undefined))
  const formats = new Set(program.pairs.flatMap((p) => [p.before?.format, p.after?.format]).filter((f) => f !== undefined))
  const { base } = locator
  for (const machine of machines)
    if (machine !== base.machine)
      found.push(reason('MACHINE_MISMATCH', base.name, '', `${base.name} is for ${base.machine}, an object for ${machine}`))
  for (const format of formats)
    if ((format === 'coff') !== (base.format === 'pe'))
      found.push(
        reason('MACHINE_MISMATCH', base.name, '', `${base.name} is ${base.format.toUpperCase()}, an object is ${format.toUpperCase()}`),
      )
  return sortReasons(found)
}

function* contradictions({ before, graphBefore, change, rva, size }: ChosenFunction, locator: Locator): Generator<Reason> {
  const { base } = locator
  for (const edge of before.edges) {
    const { target } = edge
    if (target.kind === 'section' || target.absolute !== undefined) continue
    // COFF's fields tell where the initial value lies, as other fields tell where their targets do.
    if (isThreadLocal(edge) && edge.kind !== 'secrel32') {
      const detail = otherPlace(edge, rva - entryOf(before), graphBefore, locator)
      if (detail !== undefined) yield reason('SYMBOL_AMBIGUOUS', change.name, change.file, detail)
      continue
    }
    const seen = seenTarget(before, edge, base, rva - entryOf(before))
    if (seen?.at !== 'rva') continue
    const place = seen.rva
    const expected = target.block === undefined ? byName(target.name, locator) : byBlock(target.block, target.offset, graphBefore, locator)
    if (expected === undefined || expected.includes(place)) continue
    // A call may go through a stub of the linker, to an import or to what another module may replace.
    if (isBranchKind(edge.kind) && importBehind(base, place) !== undefined) continue
    yield reason(
      'SYMBOL_AMBIGUOUS',
      change.name,
      change.file,
      `its code in ${base.name} refers to 0x${place.toString(16)} for ${target.name}, the symbol table says ${expected.map((e) => `0x${e.toString(16)}`).join(' or ') || 'nothing'}`,
    )
  }
  if (size <= 0) yield reason('FUNCTION_TOO_SHORT', change.name, change.file, 'has no bytes')
}

/** Where the base image's code says that a thread-local variable lies elsewhere: the sentence about it. `rva`: of the block that has the edge. */
function otherPlace(edge: Edge, rva: number, graph: LinkGraph, locator: Locator): string | undefined {
  const { base } = locator
  const field = base.bytes(rva + edge.offset, edge.size)
  const { fromThreadPointer, rva: origin } = base.threadLocal ?? {}
  const isOffset = EDGE_KINDS[edge.kind].access === 'block-offset'
  const start = isOffset ? 0 : fromThreadPointer
  const { block, name, offset } = edge.target
  const places = block === undefined ? byName(name, locator) : byBlock(block, offset, graph, locator)
  if (field === undefined || start === undefined || origin === undefined || places === undefined) return undefined
  const { agrees } = architectureOf(base.machine).linking.threadLocal
  const expected = places.map((place) => place - origin + start + edge.addend)
  if (!expected.every((distance) => agrees(edge.kind, field, distance) === false)) return undefined
  const from = isOffset ? 'the start of its block' : 'the thread pointer'
  return `its code in ${base.name} does not have ${name} where the symbol table says, ${expected.join(' or ')} bytes from ${from}`
}

/** Where the symbol table puts a visible name; undefined: it says nothing. */
function byName(name: string, locator: Locator): number[] | undefined {
  const visible = locator.visible(name)
  if (visible.length === 0) return undefined
  return visible.map((s) => s.rva)
}

function byBlock(block: Block, offset: number, graph: LinkGraph, locator: Locator): number[] | undefined {
  if (isAnonymous(block) || parentName(block) !== undefined) return undefined
  const finding = locator.findAnyCopy(graph, block)
  return finding.found ? [finding.rva + offset] : undefined
}

/** Functions that the linker folded into one with a patched one (identical code folding): they would be redirected with it. */
function* lodgers({ before, rva, change }: ChosenFunction, program: Program, locator: Locator): Generator<Reason> {
  const own = new Set(before.symbols.map((s) => unversioned(s.name)))
  const others = locator
    .functionsAt(rva)
    .map((s) => unversioned(s.name))
    .filter((name) => !own.has(name))
  if (others.length === 0) return
  // A name that no object gives to another function is a name that the linker made.
  const graphs = [...beforeGraphs(program), ...mentioning(program, others)]
  const defined = (name: string) =>
    graphs.some((g) => g.symbols.some((s) => s.name === name && s.block !== undefined && s.block !== before))
  for (const name of new Set(others)) {
    if (!defined(name)) continue
    yield reason('REDIRECT_UNSAFE', change.name, change.file, `the linker has made it one with ${name}, which did not change`)
  }
}
