/**
 * Who else in the process may call what the base image exports. A module that takes a function from another one names it: in its table of
 * strings, or in an argument of dlsym. So a module calls none of the functions whose names, each with its terminating zero, occur nowhere in its
 * memory. (A table of strings may share the end of a longer name, so what stands in front does not count.) Two things are not seen: a name that is put
 * together when the program runs, and what a script in the heap names. Modules that are loaded later meet what they would meet after a restart.
 */
import type { MappedModule, Process, Region } from '../process/contract.ts'
import { type Blocker, blocker, blockerOf } from './blockers.ts'

/** Read at a time. */
const PIECE = 1 << 20

export function exportsInUse(process: Process, base: MappedModule, names: readonly string[]): Blocker[] {
  if (names.length === 0) return []
  const needles = names.map((name) => Buffer.from(`${name}\0`))
  const regions = process.regions().filter(({ read }) => read)
  const blockers: Blocker[] = []
  for (const module of process.modules()) {
    if (module.base === base.base) continue
    try {
      const found = namedIn(process, partsOf(module, regions), needles)
      for (const [i, name] of names.entries())
        if (found.has(i)) blockers.push(blocker('EXPORT_IN_USE', name, `${module.path} names ${name}, whose signature the patch changes`))
    } catch (error) {
      // What cannot be read may name anything.
      blockers.push(blockerOf(error, module.name))
    }
  }
  return blockers
}

const partsOf = ({ base, size }: MappedModule, regions: readonly Region[]): readonly { start: bigint; end: bigint }[] =>
  regions.filter(({ start, end }) => start < base + BigInt(size) && end > base)

/** Indices of those that occur. */
function namedIn(process: Process, parts: readonly { start: bigint; end: bigint }[], needles: readonly Buffer[]): ReadonlySet<number> {
  const found = new Set<number>()
  const overlap = Math.max(...needles.map(({ length }) => length)) - 1
  for (const { start, end } of parts)
    for (let at = start; at < end; at += BigInt(PIECE)) {
      const length = Math.min(PIECE + overlap, Number(end - at))
      const bytes = Buffer.from(process.read(at, length))
      for (const [i, needle] of needles.entries()) if (bytes.includes(needle)) found.add(i)
    }
  return found
}
