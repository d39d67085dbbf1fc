/** The builder's inputs: an object file, an archive, or a folder of both. */
import { readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readArchive } from '../binary/archive/reader.ts'
import { HotpatchError } from '../errors.ts'
import { readInput, unreadable } from '../files.ts'
import { inputFormat, readObject, sameObject, typeSources } from './formats.ts'
import type { LinkGraph } from './graph.ts'
import type { LazyGraph, ObjectPair, Program } from './program.ts'
import { readSourceDiff } from './source-diff.ts'
import type { FoundTypes, ObjectsOfBuild, TypeSource } from './type-source.ts'

export interface Input extends LazyGraph {
  /** Relative to the folder given, with `/`; `archive.a(member.o)` for a member. The same for both builds. */
  readonly path: string
  readonly bytes: Uint8Array
}

export interface Inputs {
  /** By path, ascending. */
  readonly objects: readonly Input[]
  readonly notes: readonly string[]
}

const OBJECT_NAMES = /\.(o|obj|a|lib)$/i

/**
 * Objects at `path`, unparsed. In folders, only files called .o, .obj, .a or .lib are looked at, and those that are something else
 * inside are passed over. Throws FILE_UNREADABLE, FORMAT_UNKNOWN (a single file that is neither object nor archive) and what readArchive throws.
 */
export function readInputs(path: string): Inputs {
  const objects = [...inputsAt(path)]
  if (objects.length > 0) return { objects: objects.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)), notes: [] }
  if (!isFolder(path)) throw new HotpatchError('FORMAT_UNKNOWN', `${path} is neither an object file nor an archive`)
  return { objects, notes: [`${path} holds no object files (.o, .obj, .a, .lib)`] }
}

/** One after the other, so that not all of them need be kept. */
function* inputsAt(path: string): Generator<Input> {
  if (isFolder(path)) for (const relative of filesIn(path)) yield* inputsOf(readInput(join(path, relative)), relative)
  else yield* inputsOf(readInput(path), basename(path))
}

/** The link graphs of all objects at `path`, by path. Throws as readInputs, and what the front ends throw. */
export const loadGraphs = (path: string): LinkGraph[] => readInputs(path).objects.map((input) => input.graph())

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** Files that may be objects, relative to `root`. Links to folders are not followed. */
function filesIn(root: string, within = ''): string[] {
  const found: string[] = []
  for (const entry of readdirSync(join(root, within), { withFileTypes: true })) {
    const relative = within === '' ? entry.name : `${within}/${entry.name}`
    if (entry.isDirectory()) found.push(...filesIn(root, relative))
    else if (OBJECT_NAMES.test(entry.name)) found.push(relative)
  }
  return found
}

function inputsOf(bytes: Uint8Array, path: string): Input[] {
  switch (inputFormat(bytes)) {
    case 'elf-object':
    case 'coff-object':
      return [input(bytes, path)]
    case 'archive': {
      const seen = new Map<string, number>()
      return readArchive(bytes).flatMap((member) => {
        const count = (seen.get(member.name) ?? 0) + 1
        seen.set(member.name, count)
        const format = inputFormat(member.data)
        if (format !== 'elf-object' && format !== 'coff-object') return []
        // Two members may have one name: their order tells them apart.
        return [input(member.data, `${path}(${member.name}${count === 1 ? '' : `#${count}`})`)]
      })
    }
    default:
      return []
  }
}

function input(bytes: Uint8Array, path: string): Input {
  let graph: LinkGraph | undefined
  return {
    path,
    bytes,
    graph() {
      graph ??= parse(bytes, path)
      return graph
    },
    mentions: (names) => {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      return names.some((name) => text.includes(name, 0, 'latin1'))
    },
  }
}

function parse(bytes: Uint8Array, path: string): LinkGraph {
  try {
    return readObject(bytes, path)
  } catch (error) {
    if (error instanceof HotpatchError && !error.detail.startsWith(path))
      throw new HotpatchError(error.code, `${path}: ${error.detail}`, { cause: error, facts: { ...error.facts, file: path } })
    throw error
  }
}

/**
 * Pairs the objects of two builds by path; what makes the same program is not parsed, and kept once. A single file is paired with a single file
 * whatever they are called, and so are the members of two single archives.
 * @param sourceDiff a unified diff of the sources; lines then move only as it says
 * @param symbols files, and folders of them, that may have the types of objects
 */
export function readProgram(before: string, after: string, sourceDiff?: string, symbols: readonly string[] = []): Program {
  const inputsBefore = readInputs(before)
  const open = keysOf(inputsBefore.objects, before)
  const identical: Input[] = []
  const found: { readonly key: string; readonly before: Input | undefined; readonly after: Input | undefined }[] = []
  const pairUp = (key: string, a: Input): void => {
    const b = open.get(key)
    open.delete(key)
    if (b !== undefined && sameObject(b.bytes, a.bytes)) identical.push(b)
    else found.push({ key, before: b, after: a })
  }
  let count = 0
  const notes: string[] = [...inputsBefore.notes]
  if (isFolder(after)) {
    for (const input of inputsAt(after)) {
      count += 1
      pairUp(input.path, input)
    }
    if (count === 0) notes.push(...readInputs(after).notes)
  } else {
    const { objects } = readInputs(after)
    count = objects.length
    for (const [key, input] of keysOf(objects, after)) pairUp(key, input)
  }
  for (const [key, b] of open) found.push({ key, before: b, after: undefined })
  found.sort((a, b) => (a.key < b.key ? -1 : 1))
  identical.sort((a, b) => (a.path < b.path ? -1 : 1))
  const buildOf = (given: string, side: 'before' | 'after'): ObjectsOfBuild => ({
    given,
    different: found.flatMap((f) => f[side] ?? []),
    same: identical,
  })
  const sources = typeSources(buildOf(before, 'before'), buildOf(after, 'after'), symbols)
  const pairs = found.map(
    (f): ObjectPair => ({
      path: (f.after ?? f.before)?.path ?? f.key,
      before: f.before && withTypesFrom(f.before, sources?.before),
      after: f.after && withTypesFrom(f.after, sources?.after),
    }),
  )
  const graphNotes = pairs.flatMap((p) => [p.before, p.after]).flatMap((g) => g?.notes.map((note) => `${g.path}: ${note}`) ?? [])
  return {
    pairs,
    identical: identical.map((input) => lazily(input, sources?.before)),
    notes: [...new Set([...notes, ...graphNotes])],
    objects: { before: inputsBefore.objects.length, after: count },
    refusalOfTypes: (file) => (sources === undefined ? 'no object has its types in such a file' : sources.refusal(file)),
    ...(sourceDiff !== undefined && { sourceDiff: readSourceDiff(Buffer.from(readInput(sourceDiff)).toString('latin1'), sourceDiff) }),
  }
}

/** The object's graph; what it does not say of types itself, the source is asked for. */
function withTypesFrom(input: Input, source: TypeSource | undefined): LinkGraph {
  const graph = input.graph()
  if (source === undefined || graph.format !== 'coff') return graph
  let found: FoundTypes | undefined
  const elsewhere = (): FoundTypes => {
    found ??= source.of(input)
    return found
  }
  return { ...graph, types: () => graph.types?.() ?? elsewhere().types, whyNoTypes: () => elsewhere().why }
}

function lazily(input: Input, source: TypeSource | undefined): LazyGraph {
  let graph: LinkGraph | undefined
  return {
    path: input.path,
    mentions: input.mentions,
    graph() {
      graph ??= withTypesFrom(input, source)
      return graph
    },
  }
}

/** What each object is paired by. */
function keysOf(objects: readonly Input[], given: string): Map<string, Input> {
  if (isFolder(given)) return new Map(objects.map((o) => [o.path, o]))
  const [only] = objects
  if (only !== undefined && objects.length === 1 && !only.path.includes('(')) return new Map([['', only]])
  return new Map(objects.map((o) => [o.path.slice(o.path.indexOf('(')), o]))
}
