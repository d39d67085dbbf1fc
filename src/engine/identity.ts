/**
 * Which image a module is, from the memory of the process. Its file may be another one by now (an update replaced it), may be deleted,
 * or may lie in a container that is not visible from here; none of that matters.
 */
import { createHash } from 'node:crypto'
import { symbolServerId } from '../binary/codeview/rsds.ts'
import { PF, PT } from '../binary/elf/definitions.ts'
import { type ElfMemoryImage, readElfFromMemory } from '../binary/elf/memory.ts'
import { readCodeView } from '../binary/pe/directories.ts'
import { textSha256 } from '../binary/pe/identity.ts'
import { type PeImage, readPeFromMemory } from '../binary/pe/reader.ts'
import { viewOf } from '../binary/struct.ts'
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
  const textSha256 = once(() => hashOf(image.segments.filter((s) => s.type === PT.LOAD && (s.flags & PF.X) !== 0).map((s) => s.data())))
  const id = viewOf(image.buildId === undefined ? textSha256() : Buffer.from(image.buildId, 'hex'))
  return { timeDateStamp: wordAt(id, 0), checkSum: wordAt(id, 4), buildId: image.buildId, textSha256 }
}

/** A build id may be of any length: what it lacks is 0. */
const wordAt = (data: DataView, at: number): number => (at + 4 <= data.byteLength ? data.getUint32(at, true) : 0)

function peIdentity(image: PeImage): LiveIdentity {
  const codeView = readCodeView(image)
  return {
    timeDateStamp: image.fileHeader.TimeDateStamp,
    checkSum: image.optionalHeader.CheckSum,
    buildId: codeView && symbolServerId(codeView),
    textSha256: once(() => textSha256(image)),
  }
}

function hashOf(parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

function once<T>(compute: () => T): () => T {
  let value: { readonly of: T } | undefined
  return () => {
    value ??= { of: compute() }
    return value.of
  }
}
