/**
 * A patch image for PE: a DLL that any loader takes, with the hot patch table in its load configuration.
 *
 *     .text    rx  functions and stubs
 *     .rdata   r   constants, pointer slots, unwind information, exports, imports, load configuration, hot patch table
 *     .data    rw  new variables, those that begin as zero at the end
 *     .tls     rw  initial values of new thread-local variables, and room for the number that a loader gives the module
 *     .pdata   r   the exception directory, by ascending address
 *     .reloc       base relocations
 *     .hpmeta      the manifest
 *     .hpsig       room for a signature
 */
import { IMAGE_SCN } from '../../binary/coff/definitions.ts'
import {
  type DirectoryName,
  IMAGE_DLLCHARACTERISTICS,
  ImageLoadConfigDirectory64,
  ImageTlsDirectory64,
} from '../../binary/pe/definitions.ts'
import { encodeTlsDirectory, tlsAddresses } from '../../binary/pe/tls-writer.ts'
import { encodeBaseRelocations, encodeExports, layOut, type NewSection, writePe } from '../../binary/pe/writer.ts'
import { viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import { SECTIONS } from '../../patch/definitions.ts'
import { encodeHotPatchTable } from '../../patch/encode.ts'
import { encodeManifest } from '../../patch/manifest-codec.ts'
import { ImageSignature } from '../../patch/signature.ts'
import { type FixedUp, fixUp } from '../fixups.ts'
import type { Block, Edge } from '../graph.ts'
import type { PatchPlan } from '../plan.ts'
import { manifestFor, tableFor } from '../tables.ts'
import { type Imports, importsOf } from './imports.ts'
import { layOutBlocks, type SectionLayout } from './layout.ts'
import { type CoffMachine, coffMachineOf } from './machines.ts'
import { exportsOf, symbolsOf } from './output-symbols.ts'
import { type OwnThreadLocal, ownThreadLocal } from './own-thread-local.ts'

/** What the linker would choose for a DLL; the engine and the loader move it anyway. */
const IMAGE_BASE = 0x180000000n

const { CNT_CODE, CNT_INITIALIZED_DATA, MEM_DISCARDABLE, MEM_EXECUTE, MEM_READ, MEM_WRITE } = IMAGE_SCN
const READ_ONLY = (CNT_INITIALIZED_DATA | MEM_READ) >>> 0

/** Targets of control flow guard have to be aligned so; what compilers align functions to anyway. */
const CODE_ALIGNMENT = 16

/** Bit for bit the same for the same plan. Throws DEFECT for plans that no patch image can express. */
export function writePePatch(plan: PatchPlan): Uint8Array {
  return new PatchWriter(plan).write()
}

interface Part {
  readonly name: string
  readonly characteristics: number
  /** Called in order, once the RVAs of all parts before are known. Answers the size in memory. */
  place(rva: number): number
  /** Called once everything has its place. At most as long as the size; zeros follow. */
  content(): Uint8Array
}

class PatchWriter {
  readonly #plan: PatchPlan
  readonly #machine: CoffMachine
  readonly #imports: Imports | undefined
  readonly #rvas = new Map<Block, number>()
  readonly #directories: Partial<Record<DirectoryName, { rva: number; size: number }>> = {}
  readonly #threadLocal: OwnThreadLocal | undefined
  /** Of its section. */
  #threadLocalRva = 0
  #fixedUp: FixedUp | undefined

  constructor(plan: PatchPlan) {
    this.#plan = plan
    this.#machine = coffMachineOf(plan.base.machine)
    this.#imports = importsOf(plan)
    this.#threadLocal = ownThreadLocal(plan.blocks)
  }

  write(): Uint8Array {
    const parts = this.#parts()
    const placed: { part: Part; rva: number; size: number }[] = []
    layOut(parts, (part, rva) => {
      const size = part.place(rva)
      placed.push({ part, rva, size })
      return size
    })
    const sections: NewSection[] = placed.map(({ part, rva, size }) => ({
      name: part.name,
      rva,
      size,
      content: part.content(),
      characteristics: part.characteristics,
    }))
    return writePe({
      machine: this.#machine.number,
      imageBase: IMAGE_BASE,
      dllCharacteristics:
        IMAGE_DLLCHARACTERISTICS.HIGH_ENTROPY_VA | IMAGE_DLLCHARACTERISTICS.DYNAMIC_BASE | IMAGE_DLLCHARACTERISTICS.NX_COMPAT,
      sections,
      directories: this.#directories,
      symbols: symbolsOf(this.#rvas, sections),
    })
  }

  /** The parts that this plan needs, in the order of their addresses. */
  #parts(): Part[] {
    const { blocks, resolutions } = this.#plan
    const isRecord = (block: Block): boolean => block.kind === 'unwind' && block.section.startsWith('.pdata')
    const code = blocks.filter((block) => block.kind === 'code')
    const isConstant = (block: Block): boolean => block.kind === 'rodata' || (block.kind === 'unwind' && !isRecord(block))
    const constants = blocks.filter((block) => isConstant(block) && !this.#imports?.slots.has(block))
    const variables = blocks.filter((block) => block.kind === 'data' || block.kind === 'bss')
    const records = blocks.filter(isRecord)
    const isAddress = (edge: Edge): boolean => edge.kind === 'abs64' && resolutions.get(edge)?.to === 'patch'
    const isRelocated = this.#threadLocal !== undefined || blocks.some((block) => block.edges.some(isAddress))
    return [
      this.#codePart(code),
      this.#constantsPart(constants),
      ...(variables.length === 0 ? [] : [this.#variablesPart(variables)]),
      ...(this.#threadLocal === undefined ? [] : [this.#threadLocalPart(this.#threadLocal)]),
      ...(records.length === 0 ? [] : [this.#exceptionPart(records)]),
      ...(isRelocated ? [this.#relocationPart()] : []),
      this.#manifestPart(),
      this.#signaturePart(),
    ]
  }

  #codePart(blocks: readonly Block[]): Part {
    const { code, linking } = this.#machine.architecture
    const layout = layOutBlocks(blocks, CODE_ALIGNMENT, ({ content }, offset) => content === undefined || code.mayLieAt(content, offset))
    return {
      name: '.text',
      characteristics: (CNT_CODE | MEM_EXECUTE | MEM_READ) >>> 0,
      place: (rva) => this.#settle(layout, rva),
      content: () => this.#fill(layout, layout.size, linking.fill),
    }
  }

  #variablesPart(variables: readonly Block[]): Part {
    const isZero = (block: Block): boolean => block.edges.length === 0 && (block.content?.every((byte) => byte === 0) ?? true)
    // What needs no bytes in the file comes last; mingw's gcc gives zeros to variables in sections of their own.
    const layout = layOutBlocks([...variables.filter((block) => !isZero(block)), ...variables.filter(isZero)], 1)
    const fileSize = variables.reduce((end, block) => (isZero(block) ? end : Math.max(end, this.#endIn(layout, block))), 0)
    return {
      name: '.data',
      characteristics: (CNT_INITIALIZED_DATA | MEM_READ | MEM_WRITE) >>> 0,
      place: (rva) => this.#settle(layout, rva),
      content: () => this.#fill(layout, fileSize, 0),
    }
  }

  #threadLocalPart({ layout, size }: OwnThreadLocal): Part {
    return {
      name: '.tls',
      characteristics: (CNT_INITIALIZED_DATA | MEM_READ | MEM_WRITE) >>> 0,
      place: (rva) => {
        this.#threadLocalRva = rva
        this.#settle(layout, rva)
        return size
      },
      content: () => this.#fill(layout, layout.size, 0),
    }
  }

  /** Constants, and behind them what the headers and directories lead to. */
  #constantsPart(constants: readonly Block[]): Part {
    const layout = layOutBlocks(constants, 1)
    const name = `${this.#plan.base.name.replace(/\.[^.]*$/, '')}_hotpatch.dll`
    const exportsSize = encodeExports(
      name,
      0,
      exportsOf(this.#plan, () => 0),
    ).length
    const tableSize = encodeHotPatchTable(tableFor(this.#plan, () => 0)).length
    let size = layout.size
    const behind = (align: number, length: number): number => {
      const at = Math.ceil(size / align) * align
      size = at + length
      return at
    }
    const configAt = behind(8, ImageLoadConfigDirectory64.size)
    const exportsAt = behind(4, exportsSize)
    const tableAt = behind(4, tableSize)
    const importsAt = this.#imports === undefined ? 0 : behind(8, this.#imports.size)
    const threadLocalAt = this.#threadLocal === undefined ? 0 : behind(8, ImageTlsDirectory64.size)
    let start = 0
    return {
      name: '.rdata',
      characteristics: READ_ONLY,
      place: (rva) => {
        start = rva
        this.#settle(layout, rva)
        this.#directories.LOAD_CONFIG = { rva: rva + configAt, size: ImageLoadConfigDirectory64.size }
        this.#directories.EXPORT = { rva: rva + exportsAt, size: exportsSize }
        if (this.#threadLocal !== undefined) this.#directories.TLS = { rva: rva + threadLocalAt, size: ImageTlsDirectory64.size }
        this.#settleImports(rva + importsAt)
        return size
      },
      content: () => {
        const content = this.#fill(layout, size, 0)
        content.set(loadConfig(start + tableAt), configAt)
        content.set(encodeExports(name, start + exportsAt, exportsOf(this.#plan, this.#rvaOf)), exportsAt)
        content.set(encodeHotPatchTable(tableFor(this.#plan, this.#rvaOf)), tableAt)
        if (this.#imports !== undefined) content.set(this.#imports.encode(start + importsAt), importsAt)
        if (this.#threadLocal !== undefined) content.set(this.#tlsDirectory(this.#threadLocal), threadLocalAt)
        return content
      },
    }
  }

  #tlsDirectory({ layout, alignment, index }: OwnThreadLocal): Uint8Array {
    const start = this.#threadLocalRva
    return encodeTlsDirectory({ imageBase: IMAGE_BASE, start, size: layout.size, alignment, index: start + index })
  }

  /** Records of functions, sorted once the functions have their addresses: the system searches them by bisection. */
  #exceptionPart(records: readonly Block[]): Part {
    const layout = layOutBlocks(records, 4)
    const { size } = this.#machine.record
    if (layout.size !== records.length * size) throw new HotpatchError('DEFECT', 'records of .pdata are not of one size')
    return {
      name: '.pdata',
      characteristics: READ_ONLY,
      place: (rva) => {
        this.#directories.EXCEPTION = { rva, size: layout.size }
        return this.#settle(layout, rva)
      },
      content: () => {
        const begin = (record: Uint8Array): number => viewOf(record).getUint32(0, true)
        const encoded = records.map((record) => this.#fixUp().contents.get(record) ?? new Uint8Array(size))
        return Buffer.concat(encoded.sort((a, b) => begin(a) - begin(b)))
      },
    }
  }

  #relocationPart(): Part {
    let content = new Uint8Array()
    return {
      name: '.reloc',
      characteristics: (CNT_INITIALIZED_DATA | MEM_DISCARDABLE | MEM_READ) >>> 0,
      place: (rva) => {
        const fields = this.#fixUp().relative.map((field) => this.#rvaOf(field.block) + field.offset)
        const directory = this.#directories.TLS
        content = Uint8Array.from(encodeBaseRelocations([...fields, ...(directory === undefined ? [] : tlsAddresses(directory.rva))]))
        this.#directories.BASERELOC = { rva, size: content.length }
        return content.length
      },
      content: () => content,
    }
  }

  #manifestPart(): Part {
    let content = new Uint8Array()
    return {
      name: SECTIONS.pe.manifest,
      characteristics: (CNT_INITIALIZED_DATA | MEM_DISCARDABLE | MEM_READ) >>> 0,
      place: () => {
        content = Uint8Array.from(encodeManifest(manifestFor(this.#plan, this.#rvaOf)))
        return content.length
      },
      content: () => content,
    }
  }

  #signaturePart(): Part {
    return {
      name: SECTIONS.pe.signature,
      characteristics: (CNT_INITIALIZED_DATA | MEM_DISCARDABLE | MEM_READ) >>> 0,
      place: () => ImageSignature.size,
      content: () => new Uint8Array(ImageSignature.size),
    }
  }

  readonly #rvaOf = (block: Block): number => {
    const rva = this.#rvas.get(block)
    if (rva === undefined) throw new HotpatchError('DEFECT', `${block.name} is referred to, but is not in the patch image`)
    return rva
  }

  #settle(layout: SectionLayout, rva: number): number {
    for (const [block, offset] of layout.offsets) this.#rvas.set(block, rva + offset)
    return layout.size
  }

  #settleImports(rva: number): void {
    if (this.#imports === undefined) return
    const { descriptorsSize, addresses, slots } = this.#imports
    this.#directories.IMPORT = { rva, size: descriptorsSize }
    this.#directories.IAT = { rva: rva + addresses.offset, size: addresses.size }
    for (const [block, offset] of slots) this.#rvas.set(block, rva + offset)
  }

  readonly #endIn = (layout: SectionLayout, block: Block): number => (layout.offsets.get(block) ?? 0) + block.size

  /** Fields within the image, those that the load address goes into filled for the preferred one. */
  #fixUp(): FixedUp {
    if (this.#fixedUp === undefined) {
      this.#fixedUp = fixUp(this.#plan, this.#rvaOf)
      for (const { block, offset, addend } of this.#fixedUp.relative) {
        const content = this.#fixedUp.contents.get(block)
        if (content !== undefined) viewOf(content).setBigUint64(offset, IMAGE_BASE + BigInt(addend), true)
      }
    }
    return this.#fixedUp
  }

  #fill(layout: SectionLayout, size: number, fill: number): Uint8Array {
    const content = new Uint8Array(size).fill(fill)
    for (const [block, offset] of layout.offsets) {
      const bytes = this.#fixUp().contents.get(block)
      // Beyond `size` there are only zeros.
      if (offset >= size) continue
      if (bytes === undefined) content.fill(0, offset, offset + block.size)
      else content.set(bytes, offset)
    }
    return content
  }
}

/** A load configuration that says nothing but where the hot patch table lies. */
function loadConfig(hotPatchTable: number): Uint8Array {
  const zeros = ImageLoadConfigDirectory64.readAt(new Uint8Array(ImageLoadConfigDirectory64.size), 0)
  return ImageLoadConfigDirectory64.encode({ ...zeros, Size: ImageLoadConfigDirectory64.size, HotPatchTableOffset: hotPatchTable })
}
