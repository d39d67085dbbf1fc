/**
 * Which image a module is, from the memory of the process. Its file may be another one by now (an update replaced it), may be deleted,
 * or may lie in a container that is not visible from here; none of that matters.
 */
import { symbolServerId } from '../binary/codeview/rsds.ts'
import * as elf from '../binary/elf/identity.ts'
import { readElfFromMemory } from '../binary/elf/memory.ts'
import { readCodeView } from '../binary/pe/directories.ts'
import * as pe from '../binary/pe/identity.ts'
import { type PeImage, readPeFromMemory } from '../binary/pe/reader.ts'
import type { BaseIdentity } from '../patch/identity.ts'
import type { MappedModule } from '../process/contract.ts'

/** Bytes of the process as they would be if hotpatch had changed none. */
export type ReadMemory = (address: bigint, length: number) => Uint8Array

/** The facts of BaseIdentity. What takes more than a look at the headers is read when it is asked for, and may throw then what readers throw. */
export interface LiveIdentity extends Omit<BaseIdentity, 'textSha256' | 'buildId'> {
  buildId(): string | undefined
  textSha256(): Uint8Array
}

/**
 * @param read for what hotpatch never changes, all but the text
 * Throws what the readers throw for memory that is no image: FORMAT_UNKNOWN, MALFORMED, TRUNCATED, MEMORY_UNREADABLE.
 */
export function identityInMemory(
  { base, format }: Pick<MappedModule, 'base' | 'format'>,
  read: ReadMemory,
  original: ReadMemory,
): LiveIdentity {
  switch (format) {
    case 'elf': {
      const image = readElfFromMemory(base, read)
      const textSha256 = once(() => elf.textSha256(readElfFromMemory(base, original)))
      return { ...elf.identityWords(image.buildId, textSha256), buildId: () => image.buildId, textSha256 }
    }
    case 'pe': {
      const image = peAt(base, read)
      return {
        timeDateStamp: image.fileHeader.TimeDateStamp,
        checkSum: image.optionalHeader.CheckSum,
        buildId: once(() => buildIdOf(image)),
        textSha256: once(() => pe.textSha256(peAt(base, original))),
      }
    }
  }
}

const peAt = (base: bigint, read: ReadMemory): PeImage => readPeFromMemory((rva, length) => read(base + BigInt(rva), length))

function buildIdOf(image: PeImage): string | undefined {
  const codeView = readCodeView(image)
  return codeView && symbolServerId(codeView)
}

function once<T>(compute: () => T): () => T {
  let value: { readonly of: T } | undefined
  return () => {
    value ??= { of: compute() }
    return value.of
  }
}
