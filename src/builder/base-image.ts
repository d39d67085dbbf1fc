/** The base image as the builder sees it: a linked program or library on disk. Made by elf/base.ts and pe/base.ts. */
import type { BaseIdentity } from '../patch/identity.ts'
import type { Machine } from './graph.ts'

export interface BaseImage {
  /** As given on the command line. */
  readonly path: string
  /** The file's name without folders: how a process' module is shown. */
  readonly name: string
  readonly format: 'elf' | 'pe'
  readonly machine: Machine
  readonly identity: BaseIdentity
  /** The address that RVA 0 stands for in the file (0 for ELF shared objects and PIE). RVA = address - preferredBase. */
  readonly preferredBase: bigint
  /** Whether the loader may place it anywhere. false: a non-PIE ELF program. */
  readonly relocatable: boolean
  /** One past the last RVA that the image maps. */
  readonly imageSize: number
  readonly sections: readonly BaseSection[]
  readonly symbols: readonly BaseSymbol[]
  /** The file beside the image that its symbols were taken from; undefined: from the image itself. */
  readonly symbolFile: string | undefined
  /** Whether a name that `symbols` do not have is really not in the image. `isLocal`: it is one that only its own object sees. */
  lacks(name: string, isLocal: boolean): boolean
  /** Pointers that the loader fills with addresses of other modules: the import address table, the GOT. */
  readonly importSlots: readonly ImportSlot[]
  /** A program, which nothing but plug-ins links against; else a library. */
  readonly isProgram: boolean
  /** undefined: it has no thread-local data and uses none of other modules. */
  readonly threadLocal: ThreadLocalData | undefined
  /** Libraries that it asks for by name (DT_NEEDED, the import directory), in that order. */
  readonly needed: readonly string[]
  /** ELF: folders that it looks for them in first (DT_RUNPATH, DT_RPATH), `$ORIGIN` as it stands. */
  readonly searchPaths: readonly string[]
  /** Initialised bytes as mapped before relocation, or undefined where the range is not (wholly) file-backed. */
  bytes(rva: number, length: number): Uint8Array | undefined
  /** Whether the loader changes the 8 (or 4) bytes at `rva` (a relative relocation): they can't be compared with an object. */
  isRelocated(rva: number): boolean
}

export interface BaseSection {
  readonly name: string
  readonly rva: number
  /** Bytes in memory. */
  readonly size: number
  readonly kind: 'code' | 'rodata' | 'data' | 'bss' | 'tls' | 'other'
}

export interface BaseSymbol {
  readonly name: string
  readonly rva: number
  /** 0 where the format does not say (COFF). */
  readonly size: number
  readonly kind: 'function' | 'object' | 'tls' | 'ifunc' | 'none'
  readonly binding: 'local' | 'global' | 'weak'
  /** The source file's name that the symbol table gives for local symbols (STT_FILE, .file). */
  readonly file: string | undefined
  readonly exported: boolean
}

export interface ImportSlot {
  /** The imported function's or variable's name (without a symbol version). */
  readonly name: string
  /** The DLL's name as the import directory has it; undefined for ELF, where any module may define it. */
  readonly library: string | undefined
  /** Of the pointer-sized slot. */
  readonly rva: number
  /**
   * eager: holds the final address once the image is loaded (an IAT entry, a GLOB_DAT).
   * lazy: a JUMP_SLOT, which may still point back into the PLT: good for calls, not for comparing pointers.
   */
  readonly binding: 'eager' | 'lazy'
  /** Of the image's own indirect function that the slot is for: the RVA of its resolver, whose answer the slot holds. */
  readonly resolver?: number
}

export interface ThreadLocalData {
  /** Where the block that each thread gets a copy of begins in the image. */
  readonly rva: number
  /** From the thread pointer to the start of each thread's block, in bytes; undefined: it differs from process to process, or by format. */
  readonly fromThreadPointer: number | undefined
  readonly slots: readonly ThreadLocalSlot[]
}

/** What the loader has filled in for accesses to thread-local data. */
export interface ThreadLocalSlot {
  /** 8 bytes: the module's number, a distance from the thread pointer; 16: number and offset for `__tls_get_addr`, a TLS descriptor. */
  readonly holds: 'module' | 'distance' | 'pair' | 'descriptor'
  readonly rva: number
  /** The variable's; undefined: the image's own, which nothing can replace. */
  readonly name: string | undefined
  /** Of the image's own variable, from the start of the block. */
  readonly offset: number | undefined
}
