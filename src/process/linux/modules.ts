/**
 * The modules that the loader mapped, found from the memory map and from the headers where they are mapped: a file on disk may be
 * another one by now, or lie in another mount namespace.
 */
import { EI_CLASS, ELFCLASS64, ELFMAG, Elf64_Ehdr, Elf64_Phdr, PT } from '../../binary/elf/definitions.ts'
import type { Of } from '../../binary/struct.ts'
import type { MappedModule } from '../contract.ts'
import type { Mapping } from './proc.ts'

type ReadMemory = (address: bigint, length: number) => Uint8Array | undefined

const PAGE = 0x1000n
const floor = (address: bigint): bigint => address & ~(PAGE - 1n)
const ceiling = (address: bigint): bigint => floor(address + PAGE - 1n)
/** Real modules have about a dozen. */
const MOST_SEGMENTS = 256
/** What `map` made is no module of the loader's. */
export const OUR_MAPPING = '/memfd:hotpatch:'

/**
 * Main program first, then by ascending address.
 * @param programHeaders AT_PHDR of the auxiliary vector: it lies inside the main program
 */
export function findModules(maps: readonly Mapping[], read: ReadMemory, programHeaders: bigint | undefined): MappedModule[] {
  const modules: MappedModule[] = []
  let last: MappedModule | undefined
  for (const mapping of maps) {
    // Segments that share a page of the file with the headers show the headers again (lld): they belong to the module found before.
    if (last !== undefined && mapping.start < last.base + BigInt(last.size)) continue
    if (mapping.path === '' || mapping.offset !== 0n || !mapping.read || mapping.path.startsWith(OUR_MAPPING)) continue
    const module = moduleAt(mapping, maps, read)
    if (module === undefined) continue
    modules.push(module)
    last = module
  }
  const main = programHeaders === undefined ? -1 : modules.findIndex((module) => contains(module, programHeaders))
  return main <= 0 ? modules : [...modules.splice(main, 1), ...modules]
}

const contains = (module: MappedModule, address: bigint): boolean => address >= module.base && address < module.base + BigInt(module.size)

/** undefined: the file is mapped for another purpose than to run it. */
function moduleAt(mapping: Mapping, maps: readonly Mapping[], read: ReadMemory): MappedModule | undefined {
  const loads = readLoads(mapping.start, read)
  const first = loads?.find((load) => floor(load.p_offset) === 0n)
  if (loads === undefined || first === undefined) return undefined
  const bias = mapping.start - floor(first.p_vaddr)
  let base = mapping.start
  let end = mapping.start
  for (const load of loads) {
    if (bias + floor(load.p_vaddr) < base) base = bias + floor(load.p_vaddr)
    if (bias + load.p_vaddr + load.p_memsz > end) end = bias + load.p_vaddr + load.p_memsz
  }
  // A file that is mapped to be read lies in one piece; a loaded one has its code, executable, where the headers put it.
  const code = loads.find((load) => (load.p_flags & 1) !== 0)
  if (code !== undefined) {
    const at = bias + code.p_vaddr
    const there = maps.find((candidate) => candidate.start <= at && at < candidate.end)
    if (there === undefined || !there.execute || there.inode !== mapping.inode || there.device !== mapping.device) return undefined
  } else if (loads.length > 1 && maps.some((other) => other.start === mapping.start && other.end >= end)) return undefined
  return {
    name: mapping.path.slice(mapping.path.lastIndexOf('/') + 1),
    path: mapping.path,
    base,
    size: Number(ceiling(end) - base),
    deleted: mapping.deleted,
    format: 'elf',
  }
}

function readLoads(start: bigint, read: ReadMemory): Of<typeof Elf64_Phdr>[] | undefined {
  const data = read(start, Elf64_Ehdr.size)
  if (data === undefined || ELFMAG.some((byte, i) => data[i] !== byte) || data[EI_CLASS] !== ELFCLASS64) return undefined
  const header = Elf64_Ehdr.readAt(data, 0)
  if (header.e_phentsize !== Elf64_Phdr.size || header.e_phnum === 0 || header.e_phnum > MOST_SEGMENTS || header.e_phoff > 0x10000n)
    return undefined
  const table = read(start + header.e_phoff, header.e_phnum * Elf64_Phdr.size)
  if (table === undefined) return undefined
  return Elf64_Phdr.readMany(table, 0, header.e_phnum).filter((segment) => segment.p_type === PT.LOAD)
}
