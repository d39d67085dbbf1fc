/**
 * Thread-local variables that a patch brings. Every thread gets room for them from the loader of the process: before the patch is mapped, the engine has it
 * load a module of nothing else (elf.ts, pe.ts), and the patch's code is filled in with where threads have it. An engine that dies meanwhile leaves a module
 * that nothing uses.
 *
 * A variable that the patch before brought, too, stays where it is: its values go on. Code of ELF reaches each variable by itself; a function of PE finds
 * all of its own in one block, so those that were there and new ones do not go together in it.
 */
import { HotpatchError } from '../../errors.ts'
import type { PatchImage } from '../../patch/image.ts'
import type { ThreadLocalPlaces } from '../../patch/place.ts'
import type { Process } from '../../process/contract.ts'
import { type Blocker, blocker, blockerOf } from '../blockers.ts'
import { byUniqueKey } from '../carry.ts'
import type { Ledger, LedgerThreadLocal } from '../ledger.ts'
import { elfRoom } from './elf.ts'
import { peRoom } from './pe.ts'
import { noRoom, type Room, type RoomMaker } from './room.ts'

const ROOMS: Readonly<Record<PatchImage['format'], RoomMaker>> = { elf: elfRoom, pe: peRoom }

const NOWHERE: Readonly<Record<PatchImage['format'], Room>> = {
  elf: { module: '', start: 0n },
  pe: { module: '', start: 0n, index: 0 },
}

/** What a variable is before its place is known: of the same length in a ledger. */
export const unplaced = (image: PatchImage): LedgerThreadLocal[] => variablesOf(image, NOWHERE[image.format])

function variablesOf({ manifest, threadLocal }: PatchImage, { module, start, index }: Room): LedgerThreadLocal[] {
  return manifest.added
    .filter(({ kind }) => kind === 'thread-local')
    .map(({ name, file = '', patchRva, size }) => {
      const offset = patchRva - (threadLocal?.rva ?? 0)
      return { name, file, rva: patchRva, size, module, offset, distance: start + BigInt(offset), ...(index !== undefined && { index }) }
    })
}

/** Why the process cannot make room for them, as far as can be seen without asking it to. */
export function threadLocalBlockers(process: Process, image: PatchImage, inPlace: Ledger | undefined): Blocker[] {
  if (image.threadLocal === undefined) return []
  const kept = placesKept(image, inPlace)
  const torn = tornApart(image, kept)
  if (torn !== undefined) return [blocker('NO_THREAD_LOCAL', '', `the process has no room for thread-local variables: ${torn}`)]
  if (kept.every((place) => place !== undefined)) return []
  try {
    const missing = ROOMS[image.format].missing(process, image)
    if (missing.length === 0) return []
    return [
      blocker(
        'NO_THREAD_LOCAL',
        '',
        `the process has no ${missing.join(', ')}: without a loader of its own nothing gives room in its threads`,
      ),
    ]
  } catch (error) {
    return [blockerOf(error, '')]
  }
}

/**
 * Where each lies, in the manifest's order; room is made for those that the patch in place does not have.
 * Throws NO_THREAD_LOCAL; CALL_FAULTED, CALL_TIMEOUT, NO_SAFE_THREAD, MAPPING_REFUSED and what else the process throws.
 */
export function placeThreadLocals(process: Process, image: PatchImage, inPlace: Ledger | undefined): LedgerThreadLocal[] {
  const { threadLocal } = image
  if (threadLocal === undefined) return []
  const kept = placesKept(image, inPlace)
  const torn = tornApart(image, kept)
  if (torn !== undefined) throw noRoom(process, torn)
  if (kept.every((place) => place !== undefined)) return kept.flatMap((place) => place ?? [])
  const room = ROOMS[image.format].make(process, image, threadLocal)
  return variablesOf(image, room).map((place, i) => kept[i] ?? place)
}

/** Of what has its initial value at an RVA of the image. */
export const placesIn = (places: readonly LedgerThreadLocal[]): ThreadLocalPlaces => ({
  distance: (rva) => {
    const place = placeAt(places, rva)
    return place.distance + BigInt(rva - place.rva)
  },
  index: (rva) => {
    const { name, index } = placeAt(places, rva)
    if (index === undefined) throw new HotpatchError('DEFECT', `the block of the thread-local ${name} has no number`)
    return index
  },
})

function placeAt(places: readonly LedgerThreadLocal[], rva: number): LedgerThreadLocal {
  const place = places.find((p) => isAt(p, rva)) ?? places.find((p) => rva === p.rva + p.size)
  if (place === undefined) throw new HotpatchError('DEFECT', `no thread-local variable has its initial value at RVA 0x${rva.toString(16)}`)
  return place
}

const isAt = (place: Pick<LedgerThreadLocal, 'rva' | 'size'>, rva: number): boolean => rva >= place.rva && rva < place.rva + place.size

/** For each variable of the image the place that it has in the patch before, where there is one that is the same. */
function placesKept(image: PatchImage, inPlace: Ledger | undefined): (LedgerThreadLocal | undefined)[] {
  const fresh = unplaced(image)
  if (inPlace === undefined) return fresh.map(() => undefined)
  const [before, after] = [byUniqueKey(inPlace.names.threadLocal), byUniqueKey(fresh)]
  const places = new Map(
    [...after].flatMap(([key, variable]) => {
      const old = before.get(key)
      if (variable === undefined || old?.size !== variable.size || typeof old.index !== typeof variable.index) return []
      const { module, offset, distance, index } = old
      return [[variable, { ...variable, module, offset, distance, ...(index !== undefined && { index }) }] as const]
    }),
  )
  return fresh.map((variable) => places.get(variable))
}

/** PE: variables that one function uses, and of which not all stay where they are in one block; the sentence about them. */
function tornApart(image: PatchImage, kept: readonly (LedgerThreadLocal | undefined)[]): string | undefined {
  const variables = unplaced(image)
  const groups = new Map<number, number[]>()
  for (const { type, records } of image.table.bases.flatMap(({ chunks }) => chunks))
    if (type === 'OWN_THREAD_INDEX')
      for (const { source, target } of records) {
        const which = variables.findIndex((variable) => isAt(variable, target))
        groups.set(source, [...(groups.get(source) ?? []), which])
      }
  for (const [first = 0, ...others] of groups.values()) {
    const other = others.find((which) => kept[which]?.module !== kept[first]?.module)
    if (other === undefined) continue
    const [a, b] = [variables[first]?.name, variables[other]?.name]
    return `a function uses ${a} together with ${b}, and only one of them has its values in a block of the patch in place, or each in another; use them in functions of their own, or roll back first, with which the values are gone`
  }
  return undefined
}

/** Variables that keep their values, by name. */
export const keptThreadLocals = (before: Pick<Ledger, 'names'>, after: Pick<Ledger, 'names'>): string[] =>
  after.names.threadLocal
    .filter(({ module, distance }) => before.names.threadLocal.some((old) => old.module === module && old.distance === distance))
    .map(({ name }) => name)
