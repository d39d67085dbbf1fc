/** The builder's inputs: an object file, an archive, or a folder of both. */
import { readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readArchive } from '../binary/archive/reader.ts'
import { HotpatchError } from '../errors.ts'
import { readInput, unreadable } from '../files.ts'
import { inputFormat, readObject } from './formats.ts'
import type { LinkGraph } from './graph.ts'
import type { LazyGraph, ObjectPair, Program } from './program.ts'

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
  const notes: string[] = []
  const objects: Input[] = []
  if (isFolder(path)) {
    for (const relative of filesIn(path)) objects.push(...inputsOf(readInput(join(path, relative)), relative))
    if (objects.length === 0) notes.push(`${path} holds no object files (.o, .obj, .a, .lib)`)
  } else {
    objects.push(...inputsOf(readInput(path), basename(path)))
    if (objects.length === 0) throw new HotpatchError('FORMAT_UNKNOWN', `${path} is neither an object file nor an archive`)
  }
  return { objects: objects.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)), notes }
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
 * Pairs the objects of two builds by path; what is the same byte for byte is not parsed. A single file is paired with a single file whatever
 * they are called, and so are the members of two single archives.
 */
export function readProgram(before: string, after: string): Program {
  const inputsBefore = readInputs(before)
  const inputsAfter = readInputs(after)
  const keysBefore = keysOf(inputsBefore.objects, before)
  const keysAfter = keysOf(inputsAfter.objects, after)
  const pairs: ObjectPair[] = []
  const identical: LazyGraph[] = []
  for (const key of [...new Set([...keysBefore.keys(), ...keysAfter.keys()])].sort()) {
    const b = keysBefore.get(key)
    const a = keysAfter.get(key)
    if (a !== undefined && b !== undefined && a.bytes.length === b.bytes.length && Buffer.compare(a.bytes, b.bytes) === 0) identical.push(b)
    else pairs.push({ path: (a ?? b)?.path ?? key, before: b?.graph(), after: a?.graph() })
  }
  const graphNotes = pairs.flatMap((p) => [p.before, p.after]).flatMap((g) => g?.notes.map((note) => `${g.path}: ${note}`) ?? [])
  return {
    pairs,
    identical,
    notes: [...new Set([...inputsBefore.notes, ...inputsAfter.notes, ...graphNotes])],
    objects: { before: inputsBefore.objects.length, after: inputsAfter.objects.length },
  }
}

/** What each object is paired by. */
function keysOf(objects: readonly Input[], given: string): Map<string, Input> {
  if (isFolder(given)) return new Map(objects.map((o) => [o.path, o]))
  const [only] = objects
  if (only !== undefined && objects.length === 1 && !only.path.includes('(')) return new Map([['', only]])
  return new Map(objects.map((o) => [o.path.slice(o.path.indexOf('(')), o]))
}
