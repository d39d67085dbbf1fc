/**
 * Types from a PDB that a linker has written: which of its modules is which object, and whether it is this build's at all. A module is an
 * object's where what it has put into the image is in the object, by sizes and check sums.
 */
import { IMAGE_SCN } from '../../binary/coff/definitions.ts'
import { readCoffObject } from '../../binary/coff/reader.ts'
import { type Contribution, contributionCrc } from '../../binary/pdb/contributions.ts'
import { pdbTypes } from '../../binary/pdb/debug-types.ts'
import { type PdbModule, readPdb } from '../../binary/pdb/reader.ts'
import type { DebugTypes } from '../../binary/types/model.ts'
import type { SymbolFile } from '../symbol-source.ts'
import type { ObjectFile, ObjectsOfBuild } from '../type-source.ts'

export interface LinkedPdb {
  readonly path: string
  /** How many of the objects that differ it has, all of them as they are; or one that it has otherwise. */
  fit(build: ObjectsOfBuild): { readonly objects: number } | { readonly otherwise: string }
  /** undefined: the object was not linked into the image, or is not what was. Throws TRUNCATED, MALFORMED, FORMAT_UNKNOWN. */
  types(object: ObjectFile, build: ObjectsOfBuild): DebugTypes | undefined
}

interface Module {
  readonly module: PdbModule
  /** What lies in the image of it. */
  readonly contributions: readonly Contribution[]
}

/** Throws FORMAT_UNKNOWN, TRUNCATED, MALFORMED. */
export function readLinkedPdb({ path, data }: SymbolFile): LinkedPdb {
  const pdb = readPdb(data)
  const all = pdb.modules()
  const contributions = grouped(
    pdb.contributions().filter(({ size, segment }) => size > 0 && segment > 0),
    ({ module }) => module,
  )
  const modules = all.map((module, i): Module => ({ module, contributions: contributions.get(i) ?? [] }))
  const placed = new Map<ObjectsOfBuild, ReadonlyMap<string, Module>>()
  const moduleOf = (object: ObjectFile, build: ObjectsOfBuild): Module | undefined => {
    let known = placed.get(build)
    if (known === undefined) {
      known = modulesOf(
        modules,
        [...build.different, ...build.same].map(({ path }) => path),
      )
      placed.set(build, known)
    }
    return known.get(object.path)
  }
  let typesOf: ReturnType<typeof pdbTypes> | undefined
  return {
    path,
    fit(build) {
      let objects = 0
      for (const object of build.different) {
        const module = moduleOf(object, build)
        if (module === undefined || module.contributions.length === 0) continue
        if (!isIn(module, object)) return { otherwise: object.path }
        objects += 1
      }
      return { objects }
    },
    types(object, build) {
      const module = moduleOf(object, build)
      if (module === undefined || module.contributions.length === 0 || !isIn(module, object)) return undefined
      typesOf ??= pdbTypes(pdb, all)
      return typesOf(module.module)
    },
  }
}

function isIn({ contributions }: Module, { bytes }: ObjectFile): boolean {
  const object = readCoffObject(bytes)
  if (object.kind !== 'object') return false
  const sections = new Set(object.sections.flatMap(({ size, content }) => [sumOf(size, content && contributionCrc(content))]))
  return contributions.every(({ size, crc, characteristics }) =>
    sections.has(sumOf(size, (characteristics & IMAGE_SCN.CNT_UNINITIALIZED_DATA) !== 0 ? undefined : crc)),
  )
}

/** @param crc undefined: uninitialised data */
const sumOf = (size: number, crc: number | undefined): string => `${size}:${crc ?? ''}`

/** The module of each object: that with whose path the object's has most in common, from the end. Where two have equally much, none. */
function modulesOf(modules: readonly Module[], paths: readonly string[]): Map<string, Module> {
  const byName = grouped(paths.map(partsOfPath), ({ parts }) => parts.at(-1))
  const pairs = modules.flatMap((module) => {
    const parts = partsOfModule(module.module)
    const near = (byName.get(parts.at(-1)) ?? []).map(({ path, parts: others }) => ({ path, module, common: commonEnd(parts, others) }))
    return onlyMost(near)
  })
  return new Map([...grouped(pairs, ({ path }) => path)].flatMap(([path, found]) => onlyMost(found).map(({ module }) => [path, module])))
}

/** The one that has most in common, if it is one. */
function onlyMost<T extends { readonly common: number }>(found: readonly T[]): T[] {
  const most = Math.max(...found.map(({ common }) => common))
  const best = found.filter(({ common }) => common === most)
  return best.length === 1 ? best : []
}

function grouped<K, V>(values: readonly V[], keyOf: (value: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>()
  for (const value of values) {
    const group = groups.get(keyOf(value))
    if (group === undefined) groups.set(keyOf(value), [value])
    else group.push(value)
  }
  return groups
}

function commonEnd(a: readonly string[], b: readonly string[]): number {
  let count = 0
  while (count < a.length && count < b.length && a.at(-1 - count) === b.at(-1 - count)) count += 1
  return count
}

const split = (path: string): string[] => path.toLowerCase().split(/[\\/]+/)

/** `lib/a.lib(dir/b.obj#2)`: the archive is the folder of its members. */
function partsOfPath(path: string): { readonly path: string; readonly parts: readonly string[] } {
  const [, archive, member] = /^(.*)\((.*?)(?:#\d+)?\)$/.exec(path) ?? []
  return { path, parts: archive === undefined || member === undefined ? split(path) : [...split(archive), split(member).at(-1) as string] }
}

const partsOfModule = ({ name, file }: PdbModule): string[] =>
  name === file || file === '' ? split(name) : [...split(file), split(name).at(-1) as string]
