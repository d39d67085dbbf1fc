/** Which front end is for which file. Together with images.ts the one place in the builder that knows the formats. */
import { isArchive } from '../binary/archive/reader.ts'
import { graphFromElf } from './elf/graph.ts'
import { sameElfProgram } from './elf/same-program.ts'
import type { LinkGraph } from './graph.ts'
import { graphFromCoff } from './pe/graph.ts'
import { sameCoffProgram } from './pe/same-program.ts'
import { coffTypeSources } from './pe/separate-types.ts'
import type { ObjectsOfBuild, TypeSources } from './type-source.ts'

export type InputFormat = 'elf-object' | 'coff-object' | 'archive' | 'elf-image' | 'pe-image' | 'other'

const u16 = (data: Uint8Array, at: number): number => (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8)

const ELF_MAGIC = 0x464c457f
const ET_REL = 1
const MZ = 0x5a4d
/** IMAGE_FILE_MACHINE_AMD64 and _ARM64, at the start of a COFF object. */
const COFF_MACHINES: ReadonlySet<number> = new Set([0x8664, 0xaa64])

/** Told by the first bytes, whatever the file is called. */
export function inputFormat(data: Uint8Array): InputFormat {
  if (isArchive(data)) return 'archive'
  if ((u16(data, 0) | (u16(data, 2) << 16)) === ELF_MAGIC) return u16(data, 16) === ET_REL ? 'elf-object' : 'elf-image'
  if (u16(data, 0) === MZ) return 'pe-image'
  // Import objects and objects with very many sections begin with machine 0 and 0xffff.
  if (COFF_MACHINES.has(u16(data, 0)) || (u16(data, 0) === 0 && u16(data, 2) === 0xffff)) return 'coff-object'
  return 'other'
}

/**
 * Whether two objects make the same program, as far as their bytes tell at a glance: true where they differ in nothing but debug information,
 * comments and dates.
 */
export function sameObject(before: Uint8Array, after: Uint8Array): boolean {
  if (before.length === after.length && Buffer.compare(before, after) === 0) return true
  const format = inputFormat(before)
  if (format !== inputFormat(after)) return false
  return format === 'elf-object' ? sameElfProgram(before, after) : format === 'coff-object' && sameCoffProgram(before, after)
}

/** Throws what the front ends throw, with the path in front. */
export function readObject(data: Uint8Array, path: string): LinkGraph {
  return inputFormat(data) === 'elf-object' ? graphFromElf(data, path) : graphFromCoff(data, path)
}

/** Where types of objects that have none themselves are looked for; undefined: nowhere. `symbols`: files and folders that a person gave. */
export function typeSources(before: ObjectsOfBuild, after: ObjectsOfBuild, symbols: readonly string[]): TypeSources | undefined {
  const isCoff = [...before.different, ...after.different].some(({ bytes }) => inputFormat(bytes) === 'coff-object')
  return isCoff ? coffTypeSources(before, after, symbols) : undefined
}
