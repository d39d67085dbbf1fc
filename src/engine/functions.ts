/** The functions that a patch redirects, as they stand in the process: their bytes, and how each is redirected there. */
import { HotpatchError } from '../errors.ts'
import type { Redirects } from '../machine/architecture.ts'
import { architectureOf } from '../machine/architectures.ts'
import type { RedirectPlan, RedirectRefusal, RedirectSite, Surroundings } from '../machine/redirect.ts'
import type { PatchImage } from '../patch/image.ts'
import type { HotPatchRecord } from '../patch/table.ts'
import { type Blocker, blocker, blockerOf } from './blockers.ts'
import type { FoundBase } from './find-base.ts'
import type { ReadMemory } from './identity.ts'
import type { Ledger, LedgerFunction, Site } from './ledger.ts'
import type { RedirectKind } from './ledger-format.ts'
import { hexBytes } from './sites.ts'

export interface PlannedFunction {
  readonly name: string
  readonly file: string
  /** In the base image. */
  readonly rva: number
  readonly size: number
  /** Parts of it that the compiler has put elsewhere, in the base image. */
  readonly fragments: readonly { readonly rva: number; readonly size: number }[]
  readonly entryAddress: bigint
  /** In the patch image. */
  readonly targetRva: number
  readonly targetSize: number
  readonly redirect: NewRedirect | StandingRedirect
}

export interface NewRedirect extends RedirectPlan {
  readonly standing: false
  /** The bytes that each write replaces, by its offset from the entry. */
  readonly original: ReadonlyMap<number, Uint8Array>
}

/** The redirect of the patch that is in place: only the pointer behind its stub is replaced. */
export interface StandingRedirect {
  readonly standing: true
  readonly kind: RedirectKind
  readonly safeWhileRunning: boolean
  readonly stub: Pick<LedgerFunction, 'region' | 'stubOffset' | 'stubCode'>
  readonly sites: readonly Site[]
}

/** What RedirectSite can use of what is before a function. */
const BEFORE = 32
const PAGE = 4096

/**
 * Every function of the table's entry, in its order; a blocker for each that is not as the patch expects it.
 * @param inPlace the patch whose place this one takes
 */
export function planFunctions(
  image: PatchImage,
  base: FoundBase,
  read: ReadMemory,
  inPlace: Ledger | undefined,
): (PlannedFunction | Blocker)[] {
  const redirects = architectureOf(image.machine).redirects
  const standing = standingRedirects(inPlace)
  return base.entry.chunks
    .filter((chunk) => chunk.type === 'FUNCTION' && !chunk.inverse)
    .flatMap((chunk) => chunk.records)
    .map((record) => {
      const name = image.manifest.functions.find((f) => f.rva === record.source)?.name ?? `function at RVA 0x${record.source.toString(16)}`
      try {
        return planFunction(image, base, record, read, redirects, standing)
      } catch (error) {
        return blockerOf(error, name)
      }
    })
}

function planFunction(
  image: PatchImage,
  base: FoundBase,
  record: HotPatchRecord,
  read: ReadMemory,
  redirects: Redirects,
  standing: ReadonlyMap<bigint, StandingRedirect>,
): PlannedFunction | Blocker {
  const known = image.manifest.functions.find((f) => f.rva === record.source && f.patchRva === record.target)
  if (known === undefined)
    return blocker(
      'MALFORMED',
      '',
      `the manifest does not know the function at RVA 0x${record.source.toString(16)} that the table redirects`,
    )
  const { name, file, rva, size, fragments = [], patchRva: targetRva, patchSize: targetSize } = known
  const entryAddress = base.module.base + BigInt(rva)

  const beforeLength = Math.min(BEFORE, rva)
  const memory = read(entryAddress - BigInt(beforeLength), beforeLength + size)
  const [before, code] = [memory.subarray(0, beforeLength), memory.subarray(beforeLength)]
  const expected = expectedBytes(record).subarray(0, size)
  if (!expected.every((byte, i) => byte === code[i])) {
    const found = hexBytes(code.subarray(0, expected.length))
    return blocker(
      'ORIGINAL_BYTES_DIFFER',
      name,
      `${name} begins with ${found}, the patch is for a function that begins with ${hexBytes(expected)}`,
    )
  }

  const planned = { name, file, rva, size, fragments, entryAddress, targetRva, targetSize }
  const there = standing.get(entryAddress)
  if (there !== undefined) return { ...planned, redirect: there }

  const around = surroundings(base, rva, read)
  const redirect = planAs(known.redirect, { before, padding: 0, code, size, around }, redirects)
  if ('refused' in redirect) return blocker('REDIRECT_REFUSED', name, `${name} ${redirect.why}`)

  const original = new Map(
    [...redirect.prepare, redirect.switch].map(({ offset, length }) => {
      const at = beforeLength + offset
      // What is kept too short could not be put back.
      if (at < 0 || at + length > memory.length) throw new HotpatchError('DEFECT', `the redirect of ${name} reaches beyond what was read`)
      return [offset, memory.slice(at, at + length)]
    }),
  )
  return { ...planned, redirect: { ...redirect, standing: false, original } }
}

const surroundings = ({ module }: FoundBase, rva: number, read: ReadMemory): Surroundings => ({
  inPage: rva % PAGE,
  read: (offset, length) => {
    const at = rva + offset
    return at >= 0 && at + length <= module.size ? read(module.base + BigInt(at), length) : undefined
  },
})

function standingRedirects(inPlace: Ledger | undefined): Map<bigint, StandingRedirect> {
  const { functions = [], sites = [] } = inPlace ?? {}
  return new Map(
    functions.map(({ entryAddress, kind, safeWhileRunning, region, stubOffset, stubCode }, index) => [
      entryAddress,
      {
        standing: true,
        kind,
        safeWhileRunning,
        stub: { region, stubOffset, stubCode },
        sites: sites.filter((site) => site.function === index),
      },
    ]),
  )
}

/** FUNCTION records carry the first 4 bytes of the function as a little-endian number. */
function expectedBytes(record: HotPatchRecord): Uint8Array {
  const [first] = record.extras
  if (first === undefined) return new Uint8Array()
  const data = new Uint8Array(4)
  new DataView(data.buffer).setUint32(0, first, true)
  return data
}

/**
 * The redirect of the kind that the builder chose. It alone could prove from symbols that the bytes before the function are padding,
 * and that nothing jumps into the bytes that this kind overwrites; so no other kind will do. Over nops there are two forms of one
 * kind: the one without padding needs no proof.
 */
function planAs(kind: RedirectKind, site: RedirectSite, redirects: Redirects): RedirectPlan | RedirectRefusal {
  const withPadding = { ...site, padding: site.before.length }
  const plans = {
    padding: () => [redirects.plan(withPadding)],
    'entry-nops': () => [redirects.plan(site), redirects.plan(withPadding)],
    'first-bytes': () => [redirects.plan(site)],
  }[kind]()
  const chosen = plans.find((plan) => 'kind' in plan && plan.kind === kind)
  if (chosen !== undefined) return chosen
  const refusal = plans.find((plan) => 'refused' in plan)
  return refusal ?? { refused: 'REDIRECT_UNSAFE', why: `cannot be redirected in the way that the patch asks for (${kind})` }
}
