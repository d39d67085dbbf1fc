/** A patch image as the engine and `inspect` see it, whatever its file format. Made by readPatchImage. */
import type { Manifest } from './manifest.ts'
import type { HotPatchTable } from './table.ts'

export interface PatchImage {
  readonly format: 'elf' | 'pe'
  readonly machine: 'x64' | 'arm64'
  /** One past the last RVA that is mapped, rounded up to pages. */
  readonly imageSize: number
  /** Page-aligned parts of the image with their final protections, by ascending RVA, not overlapping. */
  readonly segments: readonly PatchSegment[]
  readonly table: HotPatchTable
  readonly manifest: Manifest
  /** 8-byte fields inside the image that get the image's load address added (PE DIR64, ELF R_X86_64_RELATIVE). */
  readonly relativeRelocations: readonly RelativeRelocation[]
  /** Libraries that it asks for by name, in that order: sonames, names of DLLs. */
  readonly libraries: readonly string[]
  /** What it takes from other modules than the base image. */
  readonly imports: readonly PatchImport[]
  /** Thread-local variables that it brings. */
  readonly threadLocal?: PatchThreadLocal | undefined
  readonly unwind: PatchUnwind | undefined
  /** SHA-256 of the file, its signature left out (signature.ts): what a ledger remembers as the image applied. */
  readonly fileSha256: Uint8Array
}

export interface PatchSegment {
  readonly rva: number
  /** Bytes in memory, page-multiple. */
  readonly size: number
  readonly protection: Protection
  /** File bytes; shorter than `size` where the rest is zero. */
  readonly content: Uint8Array
}

/** Never writable and executable at once. */
export type Protection = 'r' | 'rw' | 'rx'

export interface RelativeRelocation {
  readonly rva: number
  /** What the field holds is load address + addend. */
  readonly addend: bigint
}

/** An 8-byte field that gets the address of a function or variable of another module. */
export interface PatchImport {
  readonly rva: number
  /** PE: `#12` for the export of that ordinal. */
  readonly name: string
  /** ELF: of the symbol, where it has one. */
  readonly version: string | undefined
  /** undefined: the image does not say which of its libraries it is (ELF, without a version). */
  readonly library: string | undefined
}

/** A block of which every thread gets a copy (PT_TLS, a TLS directory). */
export interface PatchThreadLocal {
  /** Of the initial values, as they lie in the image. */
  readonly rva: number
  readonly size: number
  /** A power of two. */
  readonly alignment: number
  /** `size` bytes. */
  readonly content: Uint8Array
  /** ELF: 8-byte fields that get the distance from the thread pointer to what has its initial value at the RVA `target`. */
  readonly distances: readonly { readonly rva: number; readonly target: number }[]
}

export type PatchUnwind =
  /** ELF: the .eh_frame and .eh_frame_hdr sections. */
  | { readonly kind: 'eh_frame'; readonly rva: number; readonly size: number; readonly headerRva: number }
  /** PE: RUNTIME_FUNCTION records. */
  | { readonly kind: 'pdata'; readonly rva: number; readonly count: number }
