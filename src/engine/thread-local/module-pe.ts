/**
 * A DLL that is nothing but a block of thread-local data: initial values, the directory that says so, and the number that the loader gives the module
 * (PE format, "The .tls Section"). It has no entry point, so that loading it runs no code of its own, and imports nothing.
 */
import { IMAGE_FILE_MACHINE, IMAGE_SCN } from '../../binary/coff/definitions.ts'
import { IMAGE_DLLCHARACTERISTICS, ImageTlsDirectory64 } from '../../binary/pe/definitions.ts'
import { encodeTlsDirectory, TLS_INDEX_SIZE, tlsAddresses } from '../../binary/pe/tls-writer.ts'
import { encodeBaseRelocations, layOut, type NewSection, writePe } from '../../binary/pe/writer.ts'
import type { Machine } from '../../machine/architecture.ts'
import type { PatchThreadLocal } from '../../patch/image.ts'

export interface ThreadLocalDll {
  readonly bytes: Uint8Array
  /** RVAs: of the initial values, of the 4 bytes for the module's number. */
  readonly start: number
  readonly index: number
}

const IMAGE_BASE = 0x180000000n

const { CNT_INITIALIZED_DATA, MEM_DISCARDABLE, MEM_READ, MEM_WRITE } = IMAGE_SCN
const READ_ONLY = (CNT_INITIALIZED_DATA | MEM_READ) >>> 0
const WRITABLE = (CNT_INITIALIZED_DATA | MEM_READ | MEM_WRITE) >>> 0
const DISCARDABLE = (CNT_INITIALIZED_DATA | MEM_READ | MEM_DISCARDABLE) >>> 0

const MACHINES: Readonly<Record<Machine, number>> = { x64: IMAGE_FILE_MACHINE.AMD64, arm64: IMAGE_FILE_MACHINE.ARM64 }

const SECTIONS = ['.tls', '.data', '.rdata', '.reloc'] as const
type SectionName = (typeof SECTIONS)[number]

export function threadLocalDll(machine: Machine, { content, alignment }: Pick<PatchThreadLocal, 'content' | 'alignment'>): ThreadLocalDll {
  const rvas = {} as Record<SectionName, number>
  const relocations = (): Uint8Array => encodeBaseRelocations(tlsAddresses(rvas['.rdata']))
  const sizes: Readonly<Record<SectionName, () => number>> = {
    '.tls': () => content.length,
    '.data': () => TLS_INDEX_SIZE,
    '.rdata': () => ImageTlsDirectory64.size,
    '.reloc': () => relocations().length,
  }
  layOut(SECTIONS, (name, rva) => {
    rvas[name] = rva
    return sizes[name]()
  })
  const [start, index] = [rvas['.tls'], rvas['.data']]
  const section = (name: SectionName, characteristics: number, bytes: Uint8Array): NewSection => ({
    name,
    rva: rvas[name],
    size: sizes[name](),
    content: bytes,
    characteristics,
  })
  const { HIGH_ENTROPY_VA, DYNAMIC_BASE, NX_COMPAT } = IMAGE_DLLCHARACTERISTICS
  const bytes = writePe({
    machine: MACHINES[machine],
    imageBase: IMAGE_BASE,
    dllCharacteristics: HIGH_ENTROPY_VA | DYNAMIC_BASE | NX_COMPAT,
    sections: [
      section('.tls', WRITABLE, content),
      section('.data', WRITABLE, new Uint8Array()),
      section('.rdata', READ_ONLY, encodeTlsDirectory({ imageBase: IMAGE_BASE, start, size: content.length, alignment, index })),
      section('.reloc', DISCARDABLE, relocations()),
    ],
    directories: {
      TLS: { rva: rvas['.rdata'], size: ImageTlsDirectory64.size },
      BASERELOC: { rva: rvas['.reloc'], size: relocations().length },
    },
    symbols: [],
  })
  return { bytes, start, index }
}
