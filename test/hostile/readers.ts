/** What is damaged, and who reads it: every real file that the tests keep, each with the readers that a person could give it to. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readArchive } from '../../src/binary/archive/reader.ts'
import { dwarfTypes } from '../../src/binary/dwarf/debug-info-types.ts'
import { elfDebugSections } from '../../src/binary/elf/debug-sections.ts'
import { readElf } from '../../src/binary/elf/reader.ts'
import { readLinkerMap } from '../../src/binary/linker-map/reader.ts'
import { pdbTypes } from '../../src/binary/pdb/debug-types.ts'
import { isMsf } from '../../src/binary/pdb/msf.ts'
import { readPdb } from '../../src/binary/pdb/reader.ts'
import { hasImage, readTypeServer } from '../../src/binary/pdb/type-server.ts'
import { readBaseRelocations, readExports, readImports, readRuntimeFunctions } from '../../src/binary/pe/directories.ts'
import { readPe } from '../../src/binary/pe/reader.ts'
import type { DebugTypes } from '../../src/binary/types/model.ts'
import { isXz, readXz } from '../../src/binary/xz/reader.ts'
import { readElfBase } from '../../src/builder/elf/base.ts'
import { elfSymbolFiles } from '../../src/builder/elf/separate-symbols.ts'
import { inputFormat, readObject } from '../../src/builder/formats.ts'
import { readPeBase } from '../../src/builder/pe/base.ts'
import { peSymbolFiles } from '../../src/builder/pe/separate-symbols.ts'
import { HotpatchError } from '../../src/errors.ts'
import { isPatchImage, readPatchImage } from '../../src/patch/read.ts'

export interface Sample {
  /** Path below src. */
  readonly name: string
  readonly bytes: Uint8Array
  readonly reader: keyof typeof READERS
}

const READERS = {
  object: (bytes: Uint8Array) => {
    const { blocks, lines, types } = readObject(bytes, 'damaged')
    for (const block of blocks) lines?.rowsOf(block)
    const described = types?.()
    if (described !== undefined) readTypes(described)
  },
  archive: (bytes: Uint8Array) => {
    for (const { data } of readArchive(bytes)) if (/object$/.test(inputFormat(data))) readObject(data, 'damaged')
  },
  'elf-image': (bytes: Uint8Array) => {
    readElf(bytes)
    readElfBase(bytes, 'damaged').importSlots.length
    const debug = elfDebugSections(readElf(bytes))
    if (debug !== undefined) readTypes(dwarfTypes(debug))
    const separate = elfSymbolFiles(bytes, 'damaged')
    separate.read({ path: 'damaged', data: bytes })
    separate.embedded()
  },
  'pe-image': (bytes: Uint8Array) => {
    const image = readPe(bytes)
    readExports(image)
    readImports(image)
    readBaseRelocations(image)
    readRuntimeFunctions(image)
    readPeBase(bytes, 'damaged')
    peSymbolFiles(bytes, 'damaged').read({ path: 'damaged', data: bytes })
  },
  pdb: (bytes: Uint8Array) => {
    if (!hasImage(bytes)) return readTypes(readTypeServer(bytes).of([]))
    const pdb = readPdb(bytes)
    pdb.globals()
    pdb.contributions()
    const modules = pdb.modules()
    const of = pdbTypes(pdb, modules)
    for (const module of modules) readTypes(of(module))
  },
  map: (bytes: Uint8Array) => void readLinkerMap(bytes),
  xz: (bytes: Uint8Array) => void readXz(bytes, 2 ** 24),
  patch: (bytes: Uint8Array) => void readPatchImage(bytes),
} as const

function readTypes(types: DebugTypes): void {
  for (const key of types.keys) {
    types.fingerprint(key)
    types.definitions(key)
  }
  for (const f of types.functions()) f.variables()
  types.variables()
}

function readerFor(bytes: Uint8Array): Sample['reader'] | undefined {
  if (isMsf(bytes)) return 'pdb'
  if (isXz(bytes)) return 'xz'
  if (readLinkerMap(bytes) !== undefined) return 'map'
  const format = inputFormat(bytes)
  switch (format) {
    case 'elf-object':
    case 'coff-object':
      return 'object'
    case 'archive':
      return 'archive'
    case 'elf-image':
    case 'pe-image':
      return isPatchImage(bytes) ? 'patch' : format
    default:
      return undefined
  }
}

const root = new URL('../../src/', import.meta.url)
const BINARY = /\.(o|obj|a|lib|so|dll|exe|elf|sys|debug|pdb|map|xz)$/

export const SAMPLES: readonly Sample[] = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(relative(fileURLToPath(root), entry.parentPath ?? entry.path), entry.name))
  .filter((name) => /[\\/]fixtures[\\/]/.test(name) && (BINARY.test(name) || !/\.[a-z]+$/.test(name)))
  .sort()
  .flatMap((name) => {
    const bytes = new Uint8Array(readFileSync(new URL(name, root)))
    const reader = readerFor(bytes)
    return reader === undefined ? [] : [{ name, bytes, reader }]
  })

/** What is wrong with how `bytes` were met; undefined: they were read, or refused with a code. */
export function crash({ reader }: Pick<Sample, 'reader'>, bytes: Uint8Array): string | undefined {
  try {
    READERS[reader](bytes)
    return undefined
  } catch (error) {
    if (error instanceof HotpatchError) return error.code === 'DEFECT' ? error.detail : undefined
    return error instanceof Error ? (error.stack?.split('\n').slice(0, 3).join(' | ') ?? error.message) : String(error)
  }
}

export const isReader = (name: string): name is Sample['reader'] => name in READERS
