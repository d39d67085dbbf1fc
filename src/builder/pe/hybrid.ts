/** Images that hold code for two processors: ARM64EC, ARM64X and compiled-hybrid (CHPE) ones. Their functions come in pairs, with thunks between. */
import { IMAGE_FILE_MACHINE } from '../../binary/coff/definitions.ts'
import { readLoadConfig } from '../../binary/pe/directories.ts'
import type { PeImage } from '../../binary/pe/reader.ts'
import { HotpatchError } from '../../errors.ts'

const HYBRIDS: ReadonlyMap<number, string> = new Map([
  [IMAGE_FILE_MACHINE.ARM64EC, 'ARM64EC'],
  [IMAGE_FILE_MACHINE.ARM64X, 'ARM64X'],
])

/** Throws MACHINE_UNSUPPORTED. */
export function refuseHybridMachine(machine: number, path: string): void {
  const name = HYBRIDS.get(machine)
  if (name !== undefined) throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is for ${name}, with code for two processors`)
}

/** ARM64EC images call themselves ones for x64, ARM64X images ones for ARM64: what tells them apart is metadata in their load configuration. Throws MACHINE_UNSUPPORTED. */
export function refuseHybrid(image: PeImage, path: string): void {
  if ((readLoadConfig(image)?.CHPEMetadataPointer ?? 0n) !== 0n)
    throw new HotpatchError('MACHINE_UNSUPPORTED', `${path} is a hybrid image (CHPE), with code for two processors`)
}
