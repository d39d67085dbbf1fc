/**
 * A shared object that is nothing but a block of thread-local data and a slot with its distance from the thread pointer. The loader of the process
 * gives every thread a copy, those that run already and those to come: it is marked as in need of static room (DF_STATIC_TLS; "ELF Handling For
 * Thread-Local Storage", 3.4.4), of which C libraries keep some for what comes later.
 */
import { createHash } from 'node:crypto'
import {
  DF,
  DT,
  Elf64_Dyn,
  Elf64_Rela,
  Elf64_Sym,
  EM,
  ET,
  PF,
  PT,
  R_AARCH64,
  R_X86_64,
  SHF,
  SHT,
  STB,
  STT,
  STV,
} from '../../binary/elf/definitions.ts'
import {
  encodeDynamic,
  encodeGnuHash,
  encodeRela,
  encodeSymbols,
  gnuHashSize,
  StringTableBuilder,
  symbolTableSize,
} from '../../binary/elf/tables.ts'
import { layOut, type OutputImage, type OutputSection, writeElf } from '../../binary/elf/writer.ts'
import type { Machine } from '../../machine/architecture.ts'
import type { PatchThreadLocal } from '../../patch/image.ts'

export interface ThreadLocalModule {
  /** By data and number. */
  readonly soname: string
  readonly bytes: Uint8Array
}

/** The symbol of the slot: 8 bytes. */
export const DISTANCE_SLOT = 'hotpatch_thread_local_distance'

const MACHINES: Readonly<Record<Machine, { readonly em: number; readonly distance: number }>> = {
  x64: { em: EM.X86_64, distance: R_X86_64.TPOFF64 },
  arm64: { em: EM.AARCH64, distance: R_AARCH64.TLS_TPREL },
}

const SLOT_SIZE = 8

/** @param number tells modules of the same data apart */
export function threadLocalModule(
  machine: Machine,
  { content, alignment }: Pick<PatchThreadLocal, 'content' | 'alignment'>,
  number: number,
): ThreadLocalModule {
  const digest = createHash('sha256').update(`${alignment} `).update(content).digest('hex')
  const soname = `hotpatch-thread-local-${digest.slice(0, 16)}-${String(number).padStart(2, '0')}.so`
  return { soname, bytes: write(machine, soname, content, alignment) }
}

function write(machine: Machine, soname: string, data: Uint8Array, alignment: number): Uint8Array {
  const names = new StringTableBuilder()
  const sonameAt = names.add(soname)
  names.add(DISTANCE_SLOT)
  const { em, distance } = MACHINES[machine]
  const dynamic = (address: (section: string) => number): [tag: number, value: number][] => [
    [DT.SONAME, sonameAt],
    [DT.GNU_HASH, address('.gnu.hash')],
    [DT.STRTAB, address('.dynstr')],
    [DT.SYMTAB, address('.dynsym')],
    [DT.STRSZ, names.size],
    [DT.SYMENT, Elf64_Sym.size],
    [DT.RELA, address('.rela.dyn')],
    [DT.RELASZ, Elf64_Rela.size],
    [DT.RELAENT, Elf64_Rela.size],
    [DT.FLAGS, DF.STATIC_TLS],
  ]
  const section = (name: string, type: number, align: number, size: number, more: Partial<OutputSection> = {}): OutputSection => ({
    name,
    type,
    flags: SHF.ALLOC,
    align,
    size,
    ...more,
  })
  const writable = SHF.ALLOC | SHF.WRITE
  const image: OutputImage = {
    type: ET.DYN,
    machine: em,
    segments: [
      {
        flags: PF.R,
        sections: [
          section('.gnu.hash', SHT.GNU_HASH, 8, gnuHashSize(1), { link: '.dynsym' }),
          section('.dynsym', SHT.DYNSYM, 8, symbolTableSize(1), { link: '.dynstr', info: 1, entsize: Elf64_Sym.size }),
          section('.dynstr', SHT.STRTAB, 1, names.size),
          section('.rela.dyn', SHT.RELA, 8, Elf64_Rela.size, { link: '.dynsym', entsize: Elf64_Rela.size }),
        ],
      },
      {
        flags: PF.R | PF.W,
        relro: true,
        sections: [
          section('.tdata', SHT.PROGBITS, alignment, data.length, { flags: writable | SHF.TLS }),
          section('.dynamic', SHT.DYNAMIC, 8, encodeDynamic(dynamic(() => 0)).length, {
            flags: writable,
            link: '.dynstr',
            entsize: Elf64_Dyn.size,
          }),
          section('.got', SHT.PROGBITS, SLOT_SIZE, SLOT_SIZE, { flags: writable }),
        ],
      },
    ],
    headers: [
      { type: PT.DYNAMIC, flags: PF.R | PF.W, align: 8, sections: ['.dynamic', '.dynamic'] },
      { type: PT.TLS, flags: PF.R, align: alignment, sections: ['.tdata', '.tdata'] },
      { type: PT.GNU_STACK, flags: PF.R | PF.W, align: 16 },
    ],
  }
  const layout = layOut(image)
  const slot = {
    name: DISTANCE_SLOT,
    binding: STB.GLOBAL,
    type: STT.OBJECT,
    visibility: STV.PROTECTED,
    section: layout.index('.got'),
    value: layout.address('.got'),
    size: SLOT_SIZE,
  }
  const contents = new Map([
    ['.gnu.hash', encodeGnuHash([slot], 1)],
    ['.dynsym', encodeSymbols([slot], names)],
    ['.dynstr', names.encode()],
    // Of no symbol: the module's own block, from its start.
    ['.rela.dyn', encodeRela([{ offset: layout.address('.got'), type: distance, symbol: 0, addend: 0 }])],
    ['.tdata', data],
    ['.dynamic', encodeDynamic(dynamic((name) => layout.address(name)))],
    ['.got', new Uint8Array(SLOT_SIZE)],
  ])
  return writeElf(layout, contents, [])
}
