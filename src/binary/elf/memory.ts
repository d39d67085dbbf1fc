/** Reads a loaded module from memory, where there are program headers but no section headers. */
import { HotpatchError } from '../../errors.ts'
import type { Of } from '../struct.ts'
import { DT, Elf64_Ehdr, Elf64_Phdr, PT } from './definitions.ts'
import {
  type AddressedBytes,
  type DynamicEntry,
  type DynamicRelocations,
  describeDynamic,
  dynamicStrings,
  dynamicSymbolBytes,
  type ElfDynamic,
  readDynamicRelocations,
  readEntries,
} from './dynamic.ts'
import { buildIdOf, type ElfNote, readNotes } from './notes.ts'
import { type ElfSegment, readHeader, readSegments } from './reader.ts'
import { type ElfSymbol, readSymbols } from './symbols.ts'
import { readVersionNames, type VersionName } from './versions.ts'

export interface ElfMemoryImage {
  readonly header: Of<typeof Elf64_Ehdr>
  /** As the program headers have them; `data()` reads the first `filesz` bytes from memory, as they are now. */
  readonly segments: readonly ElfSegment[]
  /** What must be added to the addresses of the program headers to get addresses in the process. */
  readonly bias: bigint
  /** Memory by the addresses of the program headers. */
  readonly space: AddressedBytes
  readonly notes: readonly ElfNote[]
  /** NT_GNU_BUILD_ID, lower-case hexadecimal. */
  readonly buildId: string | undefined
  readonly dynamic: ElfDynamic | undefined
  /** Throws TRUNCATED, MALFORMED. */
  dynamicRelocations(): DynamicRelocations
  dynamicSymbols(): ElfSymbol[]
  /** Read once. Throws TRUNCATED, MALFORMED. */
  versionNames(): ReadonlyMap<number, VersionName>
}

const PAGE = 0x1000n
/** More than any table of a real module; what a damaged header may claim is no reason to read it. */
const LONGEST_READ = 1 << 28

/** The page floor of the lowest loadable segment: the address that RVA 0 stands for. */
export function imageFloor(segments: readonly ElfSegment[]): bigint {
  let lowest: bigint | undefined
  for (const { type, vaddr } of segments) if (type === PT.LOAD && (lowest === undefined || vaddr < lowest)) lowest = vaddr
  if (lowest === undefined) throw new HotpatchError('MALFORMED', 'the ELF file has no loadable segment')
  return lowest & ~(PAGE - 1n)
}

/** Tags whose value is an address (d_ptr). glibc's loader rebases some of them in memory, musl's does not. */
const POINTER_TAGS: ReadonlySet<number> = new Set([
  DT.PLTGOT,
  DT.HASH,
  DT.STRTAB,
  DT.SYMTAB,
  DT.RELA,
  DT.REL,
  DT.RELR,
  DT.JMPREL,
  DT.GNU_HASH,
  DT.VERSYM,
  DT.VERDEF,
  DT.VERNEED,
])

/**
 * @param base where the lowest page of the module lies in the process
 * @param read bytes at an address of the process; throws where they cannot be read
 * Throws FORMAT_UNKNOWN, MACHINE_UNSUPPORTED, TRUNCATED, MALFORMED, and what `read` throws.
 */
export function readElfFromMemory(base: bigint, read: (address: bigint, length: number) => Uint8Array): ElfMemoryImage {
  const header = readHeader(read(base, Elf64_Ehdr.size))
  if (header.e_phoff > 0x10000n)
    throw new HotpatchError('MALFORMED', `the program headers are said to be 0x${header.e_phoff.toString(16)} bytes behind the header`)
  const headers = read(base, Number(header.e_phoff) + header.e_phnum * Elf64_Phdr.size)
  const raw = readSegments(headers, header, [])
  const bias = base - imageFloor(raw)
  const space = memorySpace(raw, bias, read)
  const segments = raw.map((s): ElfSegment => ({ ...s, data: () => space.at(s.vaddr, s.filesz, 'a segment in memory') }))

  const notes = segments.filter((s) => s.type === PT.NOTE).flatMap((s) => readNotes(s.data(), s.align))
  const dynamicSegment = segments.find((s) => s.type === PT.DYNAMIC)
  const entries = dynamicSegment ? readEntries(dynamicSegment.data()).map((entry) => unbiased(entry, space, bias)) : []
  let versions: ReadonlyMap<number, VersionName> | undefined
  const relocations = (): DynamicRelocations => readDynamicRelocations(space, entries)
  return {
    header,
    segments,
    bias,
    space,
    notes,
    buildId: buildIdOf(notes),
    dynamic: dynamicSegment && describeDynamic(entries, dynamicStrings(space, entries)),
    dynamicRelocations: relocations,
    dynamicSymbols: () =>
      readSymbols({
        data: dynamicSymbolBytes(space, entries, relocations()),
        name: dynamicStrings(space, entries),
        extendedIndices: undefined,
      }),
    versionNames: () => {
      versions ??= readVersionNames(space, entries, dynamicStrings(space, entries))
      return versions
    },
  }
}

function memorySpace(segments: readonly ElfSegment[], bias: bigint, read: (address: bigint, length: number) => Uint8Array): AddressedBytes {
  const loads = segments.filter((s) => s.type === PT.LOAD)
  const available = (address: bigint): number => {
    const segment = loads.find((s) => address >= s.vaddr && address < s.vaddr + BigInt(s.memsz))
    return segment ? segment.memsz - Number(address - segment.vaddr) : 0
  }
  return {
    available,
    at(address, length, what) {
      if (length === 0) return new Uint8Array(0)
      if (available(address) < length)
        throw new HotpatchError('TRUNCATED', `${what} at address 0x${address.toString(16)} needs ${length} bytes, the segments have fewer`)
      if (length > LONGEST_READ) throw new HotpatchError('MALFORMED', `${what} claims ${length} bytes`)
      return read(address + bias, length)
    },
  }
}

function unbiased(entry: DynamicEntry, space: AddressedBytes, bias: bigint): DynamicEntry {
  const rebased = POINTER_TAGS.has(entry.tag) && space.available(entry.value) === 0 && space.available(entry.value - bias) > 0
  return rebased ? { tag: entry.tag, value: entry.value - bias } : entry
}
