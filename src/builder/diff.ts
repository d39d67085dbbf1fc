/** `hotpatch diff`: what differs between two builds, and whether it can be hotpatched as far as objects alone tell. */
import { codePairings } from './code-pairings.ts'
import { readProgram } from './inputs.ts'
import { type Change, type Classified, classify } from './passes/classify.ts'
import { comparison } from './passes/compare.ts'
import { correlate } from './passes/correlate.ts'
import { type JudgedLayout, judgeLayouts, type Replacement } from './passes/judge-layouts.ts'
import { compareLayouts, type Layouts } from './passes/layouts.ts'
import { lineNoise } from './passes/line-noise.ts'
import { markConstants } from './passes/mark-constants.ts'
import { judgeNewState } from './passes/new-state.ts'
import { entryOf, functionSize } from './places.ts'
import { afterGraphs, beforeGraphs, ownersOf, type Program, type Twins } from './program.ts'
import { refuses, sortReasons } from './reasons.ts'
import type { ChangeCounts, DiffItem, DiffReport, ItemKind } from './report.ts'
import { refuseStrangers, symbolFilesAmong } from './strangers.ts'

/**
 * @param before an object file, an archive, or a folder of them: the build before the fix
 * @param after the same of the build after it
 * @param sourceDiff the fix as a unified diff
 * @param symbols PDBs with the types of objects that have none themselves, and folders of them
 * Throws SYMBOLS_MISMATCH (a file given has none of them), FILE_UNREADABLE, FORMAT_UNKNOWN and what the front ends throw for damaged objects.
 */
export function diffBuilds(before: string, after: string, sourceDiff?: string, symbols: readonly string[] = []): DiffReport {
  // Read, and set aside what is the same byte for byte.
  const program = readProgram(before, after, sourceDiff, symbols)
  refuseStrangers(
    symbolFilesAmong(symbols).map((file) => ({ file, whys: [] })),
    [program],
  )
  return diffReport(program, difference(program))
}

export interface Difference {
  readonly twins: Twins
  readonly classified: Classified
  readonly layouts: Layouts
}

/** The passes that need no base image. */
export function difference(program: Program): Difference {
  // What has no identity but its contents, though it does not look like it.
  markConstants(program)
  // Which block is which.
  const twins = correlate(program)
  // Functions instruction by instruction, where their bytes differ.
  const owners = ownersOf([...beforeGraphs(program), ...afterGraphs(program)])
  const pairings = codePairings((block) => owners.get(block)?.machine)
  // Whether bytes and references mean the same.
  const compare = comparison(twins, pairings.samePlace)
  // Whether what differs is nothing but line numbers that moved.
  const noise = lineNoise(pairings, compare, { graphOf: (block) => owners.get(block), diff: program.sourceDiff })
  // What that makes of each, and what speaks against it.
  const classified = classify(program, twins, compare, noise)
  // Which constants became state that a running process has not had.
  judgeNewState(classified.changes)
  // Which types are laid out otherwise.
  const layouts = compareLayouts(program)
  return { twins, classified, layouts }
}

export function diffReport(program: Program, { classified, layouts }: Difference): DiffReport {
  const types = judgeLayouts(layouts.changes, program, everythingThatChanged(classified)).map(typeItem)
  const items = [...classified.changes.map(itemOf), ...types].sort(byFileKindName)
  const relevant = items.filter(({ kind }) => kind !== 'unwind' && kind !== 'type' && kind !== 'line-numbers')
  const count = (kinds: readonly ItemKind[]): ChangeCounts => {
    const of = (change: DiffItem['change']) => items.filter((i) => kinds.includes(i.kind) && i.change === change).length
    return { changed: of('changed'), added: of('added'), removed: of('removed') }
  }
  return {
    objects: { ...program.objects, identical: program.identical.length },
    items,
    counts: {
      functions: count(['function']),
      data: count(['data', 'thread-local', 'section']),
      rodata: count(['rodata']),
      importsAdded: items.filter((i) => i.kind === 'import').length,
      unwindChanged: items.filter((i) => i.kind === 'unwind').length,
      linesMoved: items.filter((i) => i.kind === 'line-numbers').length,
    },
    outcome: relevant.length === 0 ? 'same' : items.every((i) => i.patchable) ? 'patchable' : 'refused',
    layouts: { compared: layouts.compared, without: layouts.without },
    notes: [...program.notes, ...layouts.notes],
  }
}

function itemOf({ kind, change, name, file, before, after, reasons }: Change): DiffItem {
  const sizeOf = (side: Change['before']) => {
    if (side === undefined) return undefined
    return side.block.kind === 'code' ? Math.min(functionSize(side.block), side.block.size - entryOf(side.block)) : side.block.size
  }
  return {
    name,
    file,
    kind,
    change,
    sizeBefore: sizeOf(before),
    sizeAfter: sizeOf(after),
    patchable: !reasons.some(refuses),
    accepted: false,
    reasons: sortReasons(reasons),
  }
}

function typeItem({ change, reasons }: JudgedLayout): DiffItem {
  const [file = ''] = change.files
  const { key: name, sizeBefore, sizeAfter } = change
  return { name, file, kind: 'type', change: 'changed', sizeBefore, sizeAfter, patchable: !reasons.some(refuses), accepted: false, reasons }
}

/** Without a base image: all code that differs, and what is new. */
function everythingThatChanged({ changes }: Classified): Replacement {
  const code = changes.filter(({ kind, change }) => kind === 'function' && change !== 'removed')
  return { switched: new Set(code.flatMap(({ before }) => before?.block ?? [])), objects: new Set(code.map(({ file }) => file)) }
}

const KIND_ORDER: readonly ItemKind[] = [
  'function',
  'rodata',
  'data',
  'thread-local',
  'section',
  'import',
  'unwind',
  'line-numbers',
  'type',
]

function byFileKindName(a: DiffItem, b: DiffItem): number {
  const key = (i: DiffItem) => [i.file, KIND_ORDER.indexOf(i.kind), i.name, i.change].join('\0')
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0
}
