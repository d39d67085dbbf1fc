/** Taking a patch image from disk: read once, and what was verified is what is used. */
import { readInput } from '../../files.ts'
import type { PatchImage } from '../../patch/image.ts'
import { readPatchImage } from '../../patch/read.ts'
import { requireTrusted } from './images.ts'
import { keyFolder, trustedKeys } from './keyring.ts'
import { readSafely } from './ownership.ts'

export interface TakenPatch {
  readonly image: PatchImage
  /** undefined: it was taken without a signature. */
  readonly signedBy: { readonly name: string; readonly keyId: string } | undefined
}

/** Throws SIGNATURE_MISSING, SIGNATURE_UNTRUSTED, SIGNATURE_INVALID, UNSAFE_PATH, KEY_INVALID, and what readPatchImage throws. */
export function takeSignedPatch(path: string): TakenPatch {
  const file = readInput(path)
  const image = readPatchImage(file)
  const folder = keyFolder()
  const { name, id } = requireTrusted(file, trustedKeys(folder), folder)
  return { image, signedBy: { name, keyId: id } }
}

/** Without a signature the file is worth what the path to it is worth. Throws UNSAFE_PATH, and what readPatchImage throws. */
export function takeUnsignedPatch(path: string): TakenPatch {
  return { image: readPatchImage(readSafely(path, 'patch image')), signedBy: undefined }
}
