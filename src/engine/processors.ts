/** What the engine needs of each processor. */
import { HotpatchError } from '../errors.ts'
import type { EncodedRedirect, RedirectPlan, RedirectRefusal, RedirectSite } from '../machine/redirect.ts'
import { encodeRedirect, planRedirect } from '../machine/x64/redirect.ts'
import { HPAT_STUB_SIZE, hpatCodePage } from '../machine/x64/stubs.ts'

export interface Processor {
  /** How far a redirect reaches to its stub, in bytes, both ways. */
  readonly reach: bigint
  readonly stubSize: number
  /** A page full of stubs, each of which jumps through the pointer exactly one page behind it. */
  readonly stubPage: () => Uint8Array
  readonly planRedirect: (site: RedirectSite) => RedirectPlan | RedirectRefusal
  readonly encodeRedirect: (plan: RedirectPlan, entry: bigint, stub: bigint) => EncodedRedirect
}

const PROCESSORS: Readonly<Record<'x64' | 'arm64', Processor | undefined>> = {
  x64: { reach: 1n << 31n, stubSize: HPAT_STUB_SIZE, stubPage: hpatCodePage, planRedirect, encodeRedirect },
  arm64: undefined,
}

/** Throws MACHINE_UNSUPPORTED. */
export function processorOf(machine: 'x64' | 'arm64'): Processor {
  const processor = PROCESSORS[machine]
  if (processor === undefined) throw new HotpatchError('MACHINE_UNSUPPORTED', `${machine} processes are not patched yet`)
  return processor
}
