/**
 * Which image a module is, from the memory of the process. Its file may be another one by now (an update replaced it), may be deleted,
 * or may lie in a container that is not visible from here; none of that matters.
 */
import { symbolServerId } from '../binary/codeview/rsds.ts'
import * as elf from '../binary/elf/identity.ts'
import { type ElfMemoryImage, readElfFromMemory } from '../binary/elf/memory.ts'
import { readCodeView } from '../binary/pe/directories.ts'
import * as pe from '../binary/pe/identity.ts'
import { type PeImage, readPeFromMemory } from '../binary/pe/reader.ts'
import type { BaseIdentity } from '../patch/identity.ts'
import type { MappedModule } from '../process/contract.ts'

/** Bytes of the process as they would be if hotpatch had changed none. */
export type ReadMemory = (address: bigint, length: number) => Uint8Array

/** The facts of BaseIdentity; the hash of the text is read and computed when it is asked for. */
export interface LiveIdentity extends Omit<BaseIdentity, 'textSha256'> {
  textSha256(): Uint8Array
}

/** Throws what the readers throw for memory that is no image: FORMAT_UNKNOWN, MALFORMED, TRUNCATED, MEMORY_UNREADABLE. */
export function identityInMemory(module: Pick<MappedModule, 'base' | 'format'>, read: ReadMemory): LiveIdentity {
  switch (module.format) {
    case 'elf':
      return elfIdentity(readElfFromMemory(module.base, read))
    case 'pe':
      return peIdentity(readPeFromMemory((rva, length) => read(module.base + BigInt(rva), length)))
  }
}

function elfIdentity(image: ElfMemoryImage): LiveIdentity {
  const textSha256 = once(() => elf.textSha256(image))
  return { ...elf.identityWords(image.buildId, textSha256), buildId: image.buildId, textSha256 }
}

function peIdentity(image: PeImage): LiveIdentity {
  const codeView = readCodeView(image)
  return {
    timeDateStamp: image.fileHeader.TimeDateStamp,
    checkSum: image.optionalHeader.CheckSum,
    buildId: codeView && symbolServerId(codeView),
    textSha256: once(() => pe.textSha256(image)),
  }
}

function once<T>(compute: () => T): () => T {
  let value: { readonly of: T } | undefined
  return () => {
    value ??= { of: compute() }
    return value.of
  }
}
