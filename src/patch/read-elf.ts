/**
 * An ELF patch image: a shared object that needs no loader but the engine. Its note says where the hot patch table lies; it has no
 * constructors. What it takes from the base image, the table's records bring; what from other modules, its imports: relocations that put the address
 * of an undefined symbol into a field. Others are for its own addresses, and for distances of its own thread-local variables.
 */
import { DT, EM, ET, PF, PT, R_AARCH64, R_X86_64 } from '../binary/elf/definitions.ts'
import { type ElfFile, type ElfSegment, readElf, toNumber } from '../binary/elf/reader.ts'
import { viewOf } from '../binary/struct.ts'
import { HotpatchError } from '../errors.ts'
import { HOTPATCH_NOTE, HotpatchNote, SECTIONS } from './definitions.ts'
import type { PatchImport, PatchSegment, PatchThreadLocal, PatchUnwind, RelativeRelocation } from './image.ts'
import {
  type FileParts,
  imageSizeOf,
  initialValues,
  layoutError,
  notAPatchImage,
  PAGE_SIZE,
  pageUp,
  protectionOf,
  unsupported,
} from './parts.ts'

const MACHINES = new Map([
  [EM.X86_64, { machine: 'x64', relative: R_X86_64.RELATIVE, absolute: R_X86_64['64'], distance: R_X86_64.TPOFF64 }],
  [EM.AARCH64, { machine: 'arm64', relative: R_AARCH64.RELATIVE, absolute: R_AARCH64.ABS64, distance: R_AARCH64.TLS_TPREL }],
] as const)

const findNote = (elf: ElfFile) => elf.notes().find(({ name, type }) => name === HOTPATCH_NOTE.name && type === HOTPATCH_NOTE.type)

export const announcesTableElf = (file: Uint8Array): boolean => findNote(readElf(file)) !== undefined

export function readElfParts(file: Uint8Array): FileParts {
  const elf = readElf(file)
  const note = findNote(elf)
  if (note === undefined) throw notAPatchImage('the ELF file has no note that announces a hot patch table')
  const known = MACHINES.get(elf.machine as typeof EM.X86_64)
  if (known === undefined) throw new HotpatchError('MACHINE_UNSUPPORTED', `the patch image is for ELF machine ${elf.machine}`)
  if (elf.type !== ET.DYN) throw layoutError(`the patch image is an ELF file of type ${elf.type}, not a shared object`)
  refuseLoaderWork(elf)

  const segments = readSegments(elf)
  const { distances, ...relocations } = readRelocations(elf, known)
  const threadLocal = readThreadLocal(elf)
  if (threadLocal === undefined && distances.length > 0) throw layoutError('it has relocations for thread-local data, and none of that')
  const { TableRva, TableSize } = HotpatchNote.readAt(note.descriptor, 0)
  const manifest = elf.sections.find(({ name }) => name === SECTIONS.elf.manifest)?.data()
  if (manifest === undefined) throw layoutError(`the patch image has no section ${SECTIONS.elf.manifest}`)
  return {
    format: 'elf',
    machine: known.machine,
    imageSize: imageSizeOf(segments),
    segments,
    ...relocations,
    threadLocal: threadLocal && { ...threadLocal, distances: distances.map((d) => ({ rva: d.rva, target: threadLocal.rva + d.offset })) },
    libraries: elf.dynamic()?.needed ?? [],
    unwind: readUnwind(elf),
    table: elf.space.at(BigInt(TableRva), TableSize, 'the hot patch table'),
    manifest,
  }
}

function refuseLoaderWork(elf: ElfFile): void {
  const dynamic = elf.dynamic()
  if (dynamic?.textRelocations) throw unsupported('it has relocations in its code')
  for (const [name, tag] of [
    ['constructors', DT.INIT_ARRAYSZ],
    ['destructors', DT.FINI_ARRAYSZ],
    ['a constructor', DT.INIT],
    ['a destructor', DT.FINI],
  ] as const)
    if ((dynamic?.value(tag) ?? 0n) !== 0n) throw unsupported(`it has ${name}`)
}

function readThreadLocal(elf: ElfFile): Omit<PatchThreadLocal, 'distances'> | undefined {
  const [segment, ...others] = elf.segments.filter(({ type }) => type === PT.TLS)
  if (segment === undefined) return undefined
  if (others.length > 0) throw layoutError('it has several parts with thread-local data')
  const { vaddr, memsz, align } = segment
  const content = initialValues(segment.data(), memsz)
  return { rva: toNumber(vaddr, 'the address of the thread-local data'), size: memsz, alignment: Math.max(align, 1), content }
}

function readSegments(elf: ElfFile): PatchSegment[] {
  const relro = elf.segments.find(({ type }) => type === PT.GNU_RELRO)
  return elf.segments.filter(({ type, memsz }) => type === PT.LOAD && memsz > 0).flatMap((segment) => splitRelro(toSegment(segment), relro))
}

function toSegment(segment: ElfSegment): PatchSegment {
  const address = toNumber(segment.vaddr, 'the address of a segment')
  const offset = address % PAGE_SIZE
  const rva = address - offset
  const write = (segment.flags & PF.W) !== 0
  const execute = (segment.flags & PF.X) !== 0
  const data = segment.data()
  const content = new Uint8Array(offset + data.length)
  content.set(data, offset)
  const name = `the segment at RVA 0x${address.toString(16)}`
  return { rva, size: pageUp(offset + segment.memsz), protection: protectionOf(name, { write, execute }), content }
}

/** What PT_GNU_RELRO covers is written by relocations alone: read-only in the end. As with the C library, the last page counts if it is full. */
function splitRelro(segment: PatchSegment, relro: ElfSegment | undefined): PatchSegment[] {
  if (relro === undefined || segment.protection !== 'rw') return [segment]
  const start = toNumber(relro.vaddr, 'the address of the read-only part')
  const end = Math.floor((start + relro.memsz) / PAGE_SIZE) * PAGE_SIZE
  const size = end - segment.rva
  if (start !== segment.rva || size <= 0) return [segment]
  if (size > segment.size) throw layoutError('the read-only part of the data ends behind the data')
  const { content } = segment
  const rest = { rva: end, size: segment.size - size, protection: 'rw', content: content.subarray(size) } as const
  return [{ ...segment, size, protection: 'r', content: content.subarray(0, size) }, ...(rest.size > 0 ? [rest] : [])]
}

interface RelocationTypes {
  readonly relative: number
  readonly absolute: number
  readonly distance: number
}

function readRelocations(
  elf: ElfFile,
  types: RelocationTypes,
): {
  readonly relativeRelocations: RelativeRelocation[]
  readonly imports: PatchImport[]
  /** Offsets in the image's thread-local block. */
  readonly distances: readonly { readonly rva: number; readonly offset: number }[]
} {
  const { ordinary, plt, relr } = elf.dynamicRelocations()
  if (plt.length > 0) throw unsupported(`it has ${plt.length} relocations of a procedure linkage table`)
  const field = (rva: number): bigint => viewOf(elf.space.at(BigInt(rva), 8, 'a relocated field')).getBigUint64(0, true)
  const relativeRelocations: RelativeRelocation[] = relr.map((rva) => ({ rva, addend: field(rva) }))
  const imports: PatchImport[] = []
  const distances: { rva: number; offset: number }[] = []
  const symbols = ordinary.some(({ symbol }) => symbol !== 0) ? elf.dynamicSymbols() : []
  for (const { offset, type, symbol, addend } of ordinary) {
    const target = symbols[symbol]
    if (symbol === 0 && type === types.relative)
      relativeRelocations.push({ rva: offset, addend: addend === undefined ? field(offset) : BigInt(addend) })
    else if (symbol === 0 && type === types.distance) distances.push({ rva: offset, offset: Number(addend ?? field(offset)) })
    else if (type === types.absolute && target?.place === 'undefined' && target.name !== '' && Number(addend ?? field(offset)) === 0) {
      const version = elf.versions()(symbol)
      imports.push({ rva: offset, name: target.name, version: version?.name, library: version?.library })
    } else throw unsupported(`it has a relocation of type ${type} at RVA 0x${offset.toString(16)}`)
  }
  return { relativeRelocations, imports, distances }
}

function readUnwind(elf: ElfFile): PatchUnwind | undefined {
  const frames = elf.sections.find(({ name }) => name === '.eh_frame')
  const header = elf.segments.find(({ type }) => type === PT.GNU_EH_FRAME)
  if (frames === undefined || frames.size === 0) return undefined
  if (header === undefined) throw layoutError('the patch image has unwind data (.eh_frame) and no table to find it (PT_GNU_EH_FRAME)')
  const rva = toNumber(frames.addr, 'the address of .eh_frame')
  return { kind: 'eh_frame', rva, size: frames.size, headerRva: toNumber(header.vaddr, 'the address of .eh_frame_hdr') }
}
