/** A linked ELF image as the builder sees it. */
import { basename } from 'node:path'
import { ET, PF, PT, SHF, SHT } from '../../binary/elf/definitions.ts'
import { identityWords, textSha256 } from '../../binary/elf/identity.ts'
import { imageFloor } from '../../binary/elf/memory.ts'
import { type ElfFile, type ElfSection, isAllocated, readElf } from '../../binary/elf/reader.ts'
import type { ElfRelocation } from '../../binary/elf/relocations.ts'
import { HotpatchError } from '../../errors.ts'
import type { BaseIdentity } from '../../patch/identity.ts'
import type { BaseImage, BaseSection, ImportSlot } from '../base-image.ts'
import { type SymbolSource, tableSource, withSource } from '../symbol-source.ts'
import { type ElfMachine, elfMachine } from './machines.ts'
import { imageSymbols } from './symbols.ts'
import { isProgram, threadLocalData } from './thread-local.ts'

const PAGE = 0x1000n

/**
 * `separate`: symbols that another file has of this image, as elfSymbolFiles reads them.
 * Throws FORMAT_UNKNOWN (not ELF, or not linked), MACHINE_UNSUPPORTED, TRUNCATED, MALFORMED.
 */
export function readElfBase(data: Uint8Array, path: string, separate?: SymbolSource): BaseImage {
  const elf = readElf(data)
  if (elf.type !== ET.EXEC && elf.type !== ET.DYN)
    throw new HotpatchError('FORMAT_UNKNOWN', `${path} is an ELF file, but no program or library`)
  const machine = elfMachine(elf.machine, path)
  const floor = imageFloor(elf.segments)
  let relocated: ReadonlySet<number> | undefined
  return {
    path,
    name: basename(path),
    format: 'elf',
    machine: machine.architecture.machine,
    identity: identityOf(elf),
    preferredBase: floor,
    relocatable: elf.type === ET.DYN,
    imageSize: imageSize(elf, floor),
    sections: baseSections(elf, floor),
    ...withSource(separate ?? tableSource(imageSymbols(elf, floor, machine))),
    importSlots: importSlots(elf, floor, machine),
    isProgram: isProgram(elf),
    threadLocal: threadLocalData(elf, floor, machine),
    ...librariesOf(elf),
    bytes: (rva, length) => {
      const address = floor + BigInt(rva)
      return rva >= 0 && length >= 0 && elf.space.available(address) >= length ? elf.space.at(address, length, 'the image') : undefined
    },
    isRelocated: (rva) => {
      relocated ??= relocatedFields(elf, floor)
      return relocated.has(rva)
    },
  }
}

function librariesOf(elf: ElfFile): Pick<BaseImage, 'needed' | 'searchPaths'> {
  const dynamic = elf.dynamic()
  return { needed: dynamic?.needed ?? [], searchPaths: dynamic?.searchPaths ?? [] }
}

function identityOf(elf: ElfFile): BaseIdentity {
  const textHash = textSha256({ ...elf, buildId: undefined, dynamic: elf.dynamic() })
  const buildId = elf.buildId()
  return { ...identityWords(buildId, () => textHash), buildId, textSha256: textHash }
}

function imageSize(elf: ElfFile, floor: bigint): number {
  let end = floor
  for (const { type, vaddr, memsz } of elf.segments) {
    const last = vaddr + BigInt(memsz)
    if (type === PT.LOAD && last > end) end = last
  }
  const size = Number(((end - floor + PAGE - 1n) / PAGE) * PAGE)
  if (size > 0xffffffff) throw new HotpatchError('MALFORMED', `the image takes ${size} bytes of memory, more than RVAs reach`)
  return size
}

/** What the linker and the loader made for themselves. */
const LINKERS_OWN =
  /^\.(interp|hash|gnu\.|dynsym|dynstr|dynamic|rela?\.|relr\.|got|note|eh_frame|init_array|fini_array|preinit_array|ctors|dtors|tm_clone_table)/

function kindOf({ name, type, flags }: ElfSection): BaseSection['kind'] {
  if (flags & SHF.EXECINSTR) return 'code'
  if (flags & SHF.TLS) return 'tls'
  if (LINKERS_OWN.test(name)) return 'other'
  if (type === SHT.NOBITS) return 'bss'
  return flags & SHF.WRITE && !name.startsWith('.data.rel.ro') ? 'data' : 'rodata'
}

/**
 * By ascending RVA, but for .tbss, which is last: it takes no place in the image, its address is that of what follows it.
 * Without section headers, the segments stand for sections.
 */
export function baseSections(elf: ElfFile, floor: bigint): BaseSection[] {
  const placed = elf.sections.filter((s) => isAllocated(s) && s.size > 0 && s.addr >= floor)
  if (placed.length === 0) return segmentSections(elf, floor)
  const noPlace = (s: ElfSection): number => (s.flags & SHF.TLS && s.type === SHT.NOBITS ? 1 : 0)
  return placed
    .sort((a, b) => noPlace(a) - noPlace(b) || Number(a.addr - b.addr))
    .map((s) => ({ name: s.name, rva: Number(s.addr - floor), size: s.size, kind: kindOf(s) }))
}

function segmentSections(elf: ElfFile, floor: bigint): BaseSection[] {
  const sections: BaseSection[] = []
  for (const [index, { type, flags, vaddr, filesz, memsz }] of elf.segments.entries()) {
    if (type !== PT.LOAD) continue
    const rva = Number(vaddr - floor)
    const kind = flags & PF.X ? 'code' : flags & PF.W ? 'data' : 'rodata'
    if (filesz > 0) sections.push({ name: `segment ${index}`, rva, size: filesz, kind })
    if (memsz > filesz) sections.push({ name: `segment ${index}, zeros`, rva: rva + filesz, size: memsz - filesz, kind: 'bss' })
  }
  return sections.sort((a, b) => a.rva - b.rva)
}

/** What only compilers point at, from slots in writable data that no program changes (DW.ref.*, *.DW.stub): for exception tables. */
const OF_EXCEPTIONS = /^(_ZTI|__\w+_personality_)/

/**
 * Slots that hold another module's address, or what an indirect function of its own has chosen: JUMP_SLOTs, GLOB_DATs, IRELATIVEs, and pointers that the program cannot have changed since: in what
 * is read-only after relocation, or for exception tables.
 */
function importSlots(elf: ElfFile, floor: bigint, machine: ElfMachine): ImportSlot[] {
  const symbols = elf.dynamicSymbols()
  const { ordinary, plt } = elf.dynamicRelocations()
  const callBinding = elf.dynamic()?.bindNow ? 'eager' : 'lazy'
  const relro = elf.segments.filter((s) => s.type === PT.GNU_RELRO)
  const isConstant = (address: number): boolean =>
    relro.some(({ vaddr, memsz }) => address >= Number(vaddr) && address + 8 <= Number(vaddr) + memsz)
  const slots: ImportSlot[] = []
  for (const { offset, type, symbol, addend } of [...ordinary, ...plt, ...ofStaticProgram(elf)]) {
    const rva = offset - Number(floor)
    if (type === machine.irelative && addend !== undefined) {
      const resolver = addend - Number(floor)
      slots.push({ name: `*0x${resolver.toString(16)}`, library: undefined, rva, binding: 'eager', resolver })
      continue
    }
    const target = symbols[symbol]
    if (!target || target.name === '') continue
    if (type === machine.jumpSlot) slots.push({ name: target.name, library: undefined, rva, binding: callBinding })
    else if (type === machine.globDat) slots.push({ name: target.name, library: undefined, rva, binding: 'eager' })
    else if (
      type === machine.address &&
      addend === 0 &&
      target.place === 'undefined' &&
      (isConstant(offset) || OF_EXCEPTIONS.test(target.name))
    )
      slots.push({ name: target.name, library: undefined, rva, binding: 'eager' })
  }
  return slots
}

/** What its start code relocates, having no loader: between symbols that the linker puts around it (`__rela_iplt_start`), and in sections of its own. */
function ofStaticProgram(elf: ElfFile): readonly ElfRelocation[] {
  if (elf.dynamic() !== undefined) return []
  const tables = elf.sections.filter((s) => s.type === SHT.RELA && s.flags & SHF.ALLOC)
  return [...new Set(tables.map((table) => table.info))].flatMap((section) => elf.relocations(section))
}

function relocatedFields(elf: ElfFile, floor: bigint): Set<number> {
  const { ordinary, plt, relr } = elf.dynamicRelocations()
  const base = Number(floor)
  const fields = new Set<number>()
  for (const { offset } of ordinary) fields.add(offset - base)
  for (const { offset } of plt) fields.add(offset - base)
  for (const address of relr) fields.add(address - base)
  return fields
}
