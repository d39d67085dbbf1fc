/** Images that hold code for two processors: ARM64EC, ARM64X and compiled-hybrid (CHPE) ones. Their functions come in pairs, with thunks between. */
import { IMAGE_FILE_MACHINE } from '../../binary/coff/definitions.ts'
import { readLoadConfig } from '../../binary/pe/directories.ts'
import type { PeImage } from '../../binary/pe/reader.ts'
import { HotpatchError } from '../../errors.ts'

const HYBRIDS: ReadonlyMap<number, string> = new Map([
  [IMAGE_FILE_MACHINE.ARM64EC, 'ARM64EC'],
  [IMAGE_FILE_MACHINE.ARM64X, 'ARM64X'],
])

/** Throws MACHINE_UNSUPPORTED for a machine of COFF that the builder does not patch, with its name where it has one. */
export function requireAmd64(machine: number, path: string): void {
  if (machine === IMAGE_FILE_MACHINE.AMD64) return
  const hybrid = HYBRIDS.get(machine)
  const name = hybrid ?? (machine === IMAGE_FILE_MACHINE.ARM64 ? 'ARM64' : `machine 0x${machine.toString(16)}`)
  throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is for ${name}${hybrid === undefined ? '' : ', with code for two processors'}`)
}

/** An ARM64EC image calls itself one for x64: what tells it apart is the metadata in its load configuration. Throws MACHINE_UNSUPPORTED. */
export function refuseHybrid(image: PeImage, path: string): void {
  if ((readLoadConfig(image)?.CHPEMetadataPointer ?? 0n) !== 0n)
    throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is a hybrid image (CHPE), with code for two processors`)
}
