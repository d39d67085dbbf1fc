/** The processors that hotpatch knows. */
import { HotpatchError } from '../errors.ts'
import type { Architecture, Machine } from './architecture.ts'
import { X64 } from './x64/architecture.ts'

const ARCHITECTURES: Readonly<Record<Machine, Architecture | undefined>> = { x64: X64, arm64: undefined }

/** Throws MACHINE_UNSUPPORTED. */
export function architectureOf(machine: Machine): Architecture {
  const architecture = ARCHITECTURES[machine]
  if (architecture === undefined) throw new HotpatchError('MACHINE_UNSUPPORTED', `${machine} code is not patched yet`)
  return architecture
}
