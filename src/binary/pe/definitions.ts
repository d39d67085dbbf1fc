/** Portable Executable images as winnt.h has them. Field names are the header's. RVAs count from the image base. */
import { bytes, type Field, i32, struct, u8, u16, u32, u64 } from '../struct.ts'

export const IMAGE_DOS_SIGNATURE = 0x5a4d
export const IMAGE_NT_SIGNATURE = 0x00004550
export const IMAGE_NT_OPTIONAL_HDR32_MAGIC = 0x10b
export const IMAGE_NT_OPTIONAL_HDR64_MAGIC = 0x20b

export const ImageDosHeader = struct('IMAGE_DOS_HEADER', {
  e_magic: u16,
  e_cblp: u16,
  e_cp: u16,
  e_crlc: u16,
  e_cparhdr: u16,
  e_minalloc: u16,
  e_maxalloc: u16,
  e_ss: u16,
  e_sp: u16,
  e_csum: u16,
  e_ip: u16,
  e_cs: u16,
  e_lfarlc: u16,
  e_ovno: u16,
  e_res: bytes(8),
  e_oemid: u16,
  e_oeminfo: u16,
  e_res2: bytes(20),
  e_lfanew: i32,
})

/** Up to NumberOfRvaAndSizes; the data directories follow. */
export const ImageOptionalHeader64 = struct('IMAGE_OPTIONAL_HEADER64', {
  Magic: u16,
  MajorLinkerVersion: u8,
  MinorLinkerVersion: u8,
  SizeOfCode: u32,
  SizeOfInitializedData: u32,
  SizeOfUninitializedData: u32,
  AddressOfEntryPoint: u32,
  BaseOfCode: u32,
  ImageBase: u64,
  SectionAlignment: u32,
  FileAlignment: u32,
  MajorOperatingSystemVersion: u16,
  MinorOperatingSystemVersion: u16,
  MajorImageVersion: u16,
  MinorImageVersion: u16,
  MajorSubsystemVersion: u16,
  MinorSubsystemVersion: u16,
  Win32VersionValue: u32,
  SizeOfImage: u32,
  SizeOfHeaders: u32,
  CheckSum: u32,
  Subsystem: u16,
  DllCharacteristics: u16,
  SizeOfStackReserve: u64,
  SizeOfStackCommit: u64,
  SizeOfHeapReserve: u64,
  SizeOfHeapCommit: u64,
  LoaderFlags: u32,
  NumberOfRvaAndSizes: u32,
})

export const ImageDataDirectory = struct('IMAGE_DATA_DIRECTORY', { VirtualAddress: u32, Size: u32 })

/** Indices of the data directories. */
export const IMAGE_DIRECTORY_ENTRY = {
  EXPORT: 0,
  IMPORT: 1,
  RESOURCE: 2,
  EXCEPTION: 3,
  SECURITY: 4,
  BASERELOC: 5,
  DEBUG: 6,
  ARCHITECTURE: 7,
  GLOBALPTR: 8,
  TLS: 9,
  LOAD_CONFIG: 10,
  BOUND_IMPORT: 11,
  IAT: 12,
  DELAY_IMPORT: 13,
  COM_DESCRIPTOR: 14,
} as const

export type DirectoryName = keyof typeof IMAGE_DIRECTORY_ENTRY

export const IMAGE_NUMBEROF_DIRECTORY_ENTRIES = 16

export const IMAGE_DLLCHARACTERISTICS = {
  HIGH_ENTROPY_VA: 0x0020,
  DYNAMIC_BASE: 0x0040,
  FORCE_INTEGRITY: 0x0080,
  NX_COMPAT: 0x0100,
  NO_ISOLATION: 0x0200,
  NO_SEH: 0x0400,
  NO_BIND: 0x0800,
  APPCONTAINER: 0x1000,
  WDM_DRIVER: 0x2000,
  GUARD_CF: 0x4000,
  TERMINAL_SERVER_AWARE: 0x8000,
} as const

export const IMAGE_SUBSYSTEM = { NATIVE: 1, WINDOWS_GUI: 2, WINDOWS_CUI: 3 } as const

export const ImageExportDirectory = struct('IMAGE_EXPORT_DIRECTORY', {
  Characteristics: u32,
  TimeDateStamp: u32,
  MajorVersion: u16,
  MinorVersion: u16,
  Name: u32,
  Base: u32,
  NumberOfFunctions: u32,
  NumberOfNames: u32,
  AddressOfFunctions: u32,
  AddressOfNames: u32,
  AddressOfNameOrdinals: u32,
})

export const ImageImportDescriptor = struct('IMAGE_IMPORT_DESCRIPTOR', {
  OriginalFirstThunk: u32,
  TimeDateStamp: u32,
  ForwarderChain: u32,
  Name: u32,
  FirstThunk: u32,
})

export const IMAGE_ORDINAL_FLAG64 = 0x8000000000000000n

export const ImageDelayloadDescriptor = struct('IMAGE_DELAYLOAD_DESCRIPTOR', {
  /** Bit 0: the fields below are RVAs (they always are in 64-bit images). */
  Attributes: u32,
  DllNameRVA: u32,
  ModuleHandleRVA: u32,
  ImportAddressTableRVA: u32,
  ImportNameTableRVA: u32,
  BoundImportAddressTableRVA: u32,
  UnloadInformationTableRVA: u32,
  TimeDateStamp: u32,
})

export const ImageBaseRelocation = struct('IMAGE_BASE_RELOCATION', { VirtualAddress: u32, SizeOfBlock: u32 })

export const IMAGE_REL_BASED = { ABSOLUTE: 0, HIGH: 1, LOW: 2, HIGHLOW: 3, HIGHADJ: 4, DIR64: 10 } as const

/** IMAGE_TLS_DIRECTORY64. Addresses, not RVAs: as the image would have them at its preferred base. */
export const ImageTlsDirectory64 = struct('IMAGE_TLS_DIRECTORY64', {
  /** From where each thread's block is copied, and one past it. */
  StartAddressOfRawData: u64,
  EndAddressOfRawData: u64,
  /** Of the u32 in which the loader leaves the module's number. */
  AddressOfIndex: u64,
  AddressOfCallBacks: u64,
  /** Bytes of zeros behind the copy. */
  SizeOfZeroFill: u32,
  Characteristics: u32,
})

/** x64: a record of the exception directory (.pdata). */
export const RuntimeFunction = struct('RUNTIME_FUNCTION', { BeginAddress: u32, EndAddress: u32, UnwindData: u32 })

export const ImageDebugDirectory = struct('IMAGE_DEBUG_DIRECTORY', {
  Characteristics: u32,
  TimeDateStamp: u32,
  MajorVersion: u16,
  MinorVersion: u16,
  Type: u32,
  SizeOfData: u32,
  AddressOfRawData: u32,
  PointerToRawData: u32,
})

export const IMAGE_DEBUG_TYPE = { COFF: 1, CODEVIEW: 2, MISC: 4, FPO: 3, POGO: 13, REPRO: 16, EX_DLLCHARACTERISTICS: 20 } as const

export const ImageLoadConfigCodeIntegrity = struct('IMAGE_LOAD_CONFIG_CODE_INTEGRITY', {
  Flags: u16,
  Catalog: u16,
  CatalogOffset: u32,
  Reserved: u32,
})

/**
 * IMAGE_LOAD_CONFIG_DIRECTORY64. Its first field is its size in this image: linkers of older kits wrote a shorter one, and
 * fields beyond it count as 0.
 */
export const ImageLoadConfigDirectory64 = struct('IMAGE_LOAD_CONFIG_DIRECTORY64', {
  Size: u32,
  TimeDateStamp: u32,
  MajorVersion: u16,
  MinorVersion: u16,
  GlobalFlagsClear: u32,
  GlobalFlagsSet: u32,
  CriticalSectionDefaultTimeout: u32,
  DeCommitFreeBlockThreshold: u64,
  DeCommitTotalFreeThreshold: u64,
  LockPrefixTable: u64,
  MaximumAllocationSize: u64,
  VirtualMemoryThreshold: u64,
  ProcessAffinityMask: u64,
  ProcessHeapFlags: u32,
  CSDVersion: u16,
  DependentLoadFlags: u16,
  EditList: u64,
  SecurityCookie: u64,
  SEHandlerTable: u64,
  SEHandlerCount: u64,
  GuardCFCheckFunctionPointer: u64,
  GuardCFDispatchFunctionPointer: u64,
  GuardCFFunctionTable: u64,
  GuardCFFunctionCount: u64,
  GuardFlags: u32,
  CodeIntegrity: ImageLoadConfigCodeIntegrity as Field<CodeIntegrity>,
  GuardAddressTakenIatEntryTable: u64,
  GuardAddressTakenIatEntryCount: u64,
  GuardLongJumpTargetTable: u64,
  GuardLongJumpTargetCount: u64,
  DynamicValueRelocTable: u64,
  CHPEMetadataPointer: u64,
  GuardRFFailureRoutine: u64,
  GuardRFFailureRoutineFunctionPointer: u64,
  DynamicValueRelocTableOffset: u32,
  DynamicValueRelocTableSection: u16,
  Reserved2: u16,
  GuardRFVerifyStackPointerFunctionPointer: u64,
  /** RVA of IMAGE_HOT_PATCH_INFO, 0 where the image is no patch image. */
  HotPatchTableOffset: u32,
  Reserved3: u32,
  EnclaveConfigurationPointer: u64,
  VolatileMetadataPointer: u64,
  GuardEHContinuationTable: u64,
  GuardEHContinuationCount: u64,
  GuardXFGCheckFunctionPointer: u64,
  GuardXFGDispatchFunctionPointer: u64,
  GuardXFGTableDispatchFunctionPointer: u64,
  CastGuardOsDeterminedFailureMode: u64,
  GuardMemcpyFunctionPointer: u64,
  UmaFunctionPointers: u64,
})

interface CodeIntegrity {
  Flags: number
  Catalog: number
  CatalogOffset: number
  Reserved: number
}
