/**
 * The manifest says for people what the table says for the engine. Both must say the same: what a person is shown, and allows, is what
 * is done.
 */
import { HotpatchError } from '../errors.ts'
import type { PatchImage } from './image.ts'
import type { Manifest } from './manifest.ts'
import type { HotPatchBase, HotPatchTable } from './table.ts'

const mismatch = (what: string): HotpatchError => new HotpatchError('PATCH_MANIFEST_MISMATCH', what)
const hex = (value: number): string => `0x${value.toString(16)}`

/** Throws PATCH_MANIFEST_MISMATCH. */
export function agree(table: HotPatchTable, manifest: Manifest, image: Pick<PatchImage, 'format' | 'segments' | 'threadLocal'>): void {
  const [base, ...others] = table.bases
  if (base === undefined || others.length > 0) throw mismatch(`the table is for ${table.bases.length} base images, the manifest for one`)
  if (manifest.sequence !== table.sequenceNumber)
    throw mismatch(`the manifest's sequence number is ${manifest.sequence}, the table's ${table.sequenceNumber}`)
  agreeOnIdentity(base, manifest, image.format)
  agreeOnFunctions(base, manifest, image.segments)
  const isCode = (rva: number): boolean => image.segments.some((s) => s.protection === 'rx' && rva >= s.rva && rva < s.rva + s.size)
  if (manifest.callout !== undefined && !isCode(manifest.callout))
    throw mismatch(`the callback, at RVA ${hex(manifest.callout)}, is outside of the patch image's code`)
  const inside = (rva: number, size: number): boolean => image.segments.some((s) => rva >= s.rva && rva + size <= s.rva + s.size)
  const astray = manifest.added.find(({ patchRva, size }) => !inside(patchRva, size))
  if (astray !== undefined) throw mismatch(`${astray.name}, at RVA ${hex(astray.patchRva)}, is outside of the patch image`)
  agreeOnThreadLocals(base, manifest, image)
}

/** Every thread-local place that the image uses is in a variable that the manifest names: the engine gives room by variable. */
function agreeOnThreadLocals(
  base: HotPatchBase,
  { added }: Manifest,
  { format, threadLocal }: Pick<PatchImage, 'format' | 'threadLocal'>,
): void {
  const { rva = 0, size = 0, distances = [] } = threadLocal ?? {}
  const variables = added.filter(({ kind }) => kind === 'thread-local')
  const astray = variables.find((v) => v.patchRva < rva || v.patchRva + v.size > rva + size)
  if (astray !== undefined)
    throw mismatch(`${astray.name}, at RVA ${hex(astray.patchRva)}, is outside of the patch image's thread-local data`)
  if (format !== 'pe' && base.chunks.some(({ type, records }) => type === 'OWN_THREAD_INDEX' && records.length > 0))
    throw mismatch('the table has numbers of modules filled in, by which only code of PE finds thread-local variables')
  const records = base.chunks.flatMap(({ type, records }) => (type.startsWith('OWN_THREAD') ? records : []))
  const nobodys = [...distances, ...records].find(
    ({ target }) => !variables.some((v) => target >= v.patchRva && target <= v.patchRva + v.size),
  )
  if (nobodys !== undefined) throw mismatch(`the manifest names no thread-local variable at RVA ${hex(nobodys.target)}`)
}

/** An ELF base image has its time stamp and check sum from its build id, or from the hash of its text: see BaseIdentity. */
function agreeOnIdentity(
  { originalTimeDateStamp, originalCheckSum }: HotPatchBase,
  { base }: Manifest,
  format: PatchImage['format'],
): void {
  if (format === 'pe') return
  const id = Buffer.from(base.buildId ?? base.textSha256, 'hex')
  const whole = Buffer.alloc(8)
  id.copy(whole)
  if (whole.readUInt32LE(0) !== originalTimeDateStamp || whole.readUInt32LE(4) !== originalCheckSum)
    throw mismatch(`the table is for another base image than ${base.buildId ?? base.textSha256}`)
}

function agreeOnFunctions(base: HotPatchBase, manifest: Manifest, segments: PatchImage['segments']): void {
  const redirected = new Map<number, number>()
  for (const { type, records } of base.chunks)
    if (type === 'FUNCTION') for (const { source, target } of records) redirected.set(source, target)
  for (const { name, rva, size, fragments = [], patchRva, patchSize } of manifest.functions) {
    const target = redirected.get(rva)
    if (target !== patchRva) {
      const instead = target === undefined ? 'the table does not redirect it' : `the table redirects it to RVA ${hex(target)}`
      throw mismatch(`the manifest redirects ${name} at RVA ${hex(rva)} to RVA ${hex(patchRva)}, ${instead}`)
    }
    redirected.delete(rva)
    if ([{ rva, size }, ...fragments].some((part) => part.rva + part.size > manifest.base.imageSize))
      throw mismatch(`${name}, at RVA ${hex(rva)}, ends outside of the base image`)
    if (!segments.some((s) => s.protection === 'rx' && patchRva >= s.rva && patchRva + patchSize <= s.rva + s.size))
      throw mismatch(`the new ${name}, at RVA ${hex(patchRva)}, ends outside of the patch image's code`)
  }
  refuseOverlaps(manifest)
  const [left] = redirected.keys()
  if (left !== undefined) throw mismatch(`the table redirects a function at RVA ${hex(left)} that the manifest does not name`)
}

/** A redirect of one function would be written into the middle of another. */
function refuseOverlaps({ functions }: Manifest): void {
  const ascending = functions.toSorted((a, b) => a.rva - b.rva)
  for (const [i, f] of ascending.entries()) {
    const next = ascending[i + 1]
    if (next !== undefined && f.rva + f.size > next.rva)
      throw mismatch(`${f.name}, at RVA ${hex(f.rva)} with ${f.size} bytes, reaches into ${next.name} at RVA ${hex(next.rva)}`)
  }
}
