/** Reading and writing the files that a person names. */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { HotpatchError } from './errors.ts'

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EEXIST: 'the file exists already',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  EISDIR: 'it is a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is not a folder',
}

const why = (cause: unknown): string => {
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  return REASONS[code] ?? String((cause as Error).message)
}

export const unreadable = (path: string, cause: unknown): HotpatchError =>
  new HotpatchError('FILE_UNREADABLE', `${path}: ${why(cause)}`, { cause })

/** Throws FILE_UNREADABLE. */
export function readInput(path: string): Uint8Array {
  try {
    const { buffer, byteOffset, byteLength } = readFileSync(path)
    // No Buffer: its `slice` is a view where that of an array is a copy.
    return new Uint8Array(buffer, byteOffset, byteLength)
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** Writes beside and renames, so that a reader never sees half a file. Throws FILE_UNWRITABLE. */
export function writeOutput(path: string, bytes: Uint8Array): void {
  const beside = `${path}.${process.pid}.tmp`
  try {
    writeFileSync(beside, bytes)
    renameSync(beside, path)
  } catch (cause) {
    rmSync(beside, { force: true })
    throw new HotpatchError('FILE_UNWRITABLE', `${path}: ${why(cause)}`, { cause })
  }
}

/** Writes a file that must not exist yet. Throws FILE_UNWRITABLE. */
export function writeNew(path: string, text: string, mode: number): void {
  try {
    writeFileSync(path, text, { flag: 'wx', mode })
  } catch (cause) {
    throw new HotpatchError('FILE_UNWRITABLE', `${path}: ${why(cause)}`, { cause })
  }
}

/** false where there is nothing, too. */
export const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
