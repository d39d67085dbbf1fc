/**
 * Who else in the process may call what the base image exports. A module that takes a function from another one names it:
 *
 * - by a symbol of its dynamic symbol table, of which the loader takes the whole name, wherever in the table of strings it lies;
 * - by a text, for dlsym. That is a text of its own where a zero, or no character, stands in front. A linker may have put a text into the end of a longer one
 *   (SHF_MERGE, SHF_STRINGS), so an ending counts where something in the module leads to its first character.
 *
 * Of a module whose tables cannot be read, every ending counts. Two things are not seen: a name that is put together when the program runs, and what a script in the heap
 * names. Modules that are loaded later meet what they would meet after a restart.
 */
import { DT } from '../binary/elf/definitions.ts'
import { readElfFromMemory } from '../binary/elf/memory.ts'
import { HotpatchError } from '../errors.ts'
import type { MappedModule, Process, Region } from '../process/contract.ts'
import { type Blocker, blocker, blockerOf } from './blockers.ts'
import { ledTo } from './led-to.ts'

/** Read at a time. */
const PIECE = 1 << 20

export function exportsInUse(process: Process, base: MappedModule, names: readonly string[]): Blocker[] {
  if (names.length === 0) return []
  const regions = process.regions().filter(({ read }) => read)
  const blockers: Blocker[] = []
  for (const module of process.modules()) {
    if (module.base === base.base) continue
    try {
      const used = usedBy(process, module, regions, names)
      for (const name of names)
        if (used.has(name)) blockers.push(blocker('EXPORT_IN_USE', name, `${module.path} names ${name}, whose signature the patch changes`))
    } catch (error) {
      // What cannot be read may name anything.
      blockers.push(blockerOf(error, module.name))
    }
  }
  return blockers
}

function usedBy(process: Process, module: MappedModule, regions: readonly Region[], names: readonly string[]): ReadonlySet<string> {
  const parts = regions.filter(({ start, end }) => start < module.base + BigInt(module.size) && end > module.base)
  const symbols = symbolsOf(process, module)
  const used = new Set(names.filter((name) => symbols?.names.has(name)))
  const rest = names.filter((name) => !used.has(name))
  const endings = new Map<number, string>()
  for (const { name, at, isWhole } of textsIn(process, parts, rest)) {
    if (symbols !== undefined && at >= symbols.strings.start && at < symbols.strings.end) continue
    if (isWhole || symbols === undefined) used.add(name)
    else endings.set(at, name)
  }
  for (const [at, name] of endings) if (used.has(name)) endings.delete(at)
  for (const at of ledTo(process, parts, new Set(endings.keys()))) used.add(endings.get(at) as string)
  return used
}

interface Symbols {
  readonly names: ReadonlySet<string>
  /** Where their names lie. */
  readonly strings: { readonly start: number; readonly end: number }
}

/** undefined: it is no ELF module, or its tables cannot be read. */
function symbolsOf(process: Process, module: MappedModule): Symbols | undefined {
  try {
    const image = readElfFromMemory(module.base, (address, length) => process.read(address, length))
    const [strings, size] = [image.dynamic?.value(DT.STRTAB), image.dynamic?.value(DT.STRSZ)]
    if (strings === undefined || size === undefined) return undefined
    const start = Number(strings + image.bias)
    return { names: new Set(image.dynamicSymbols().map(({ name }) => name)), strings: { start, end: start + Number(size) } }
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE' && error.code !== 'PERMISSION_DENIED') return undefined
    throw error
  }
}

interface Text {
  readonly name: string
  readonly at: number
  /** Nothing that could belong to it stands in front. */
  readonly isWhole: boolean
}

/** Where names occur, each with its terminating zero. */
function* textsIn(process: Process, parts: readonly Region[], names: readonly string[]): Generator<Text> {
  if (names.length === 0) return
  const needles = names.map((name) => ({ name, bytes: Buffer.from(`${name}\0`) }))
  const overlap = Math.max(...needles.map(({ bytes }) => bytes.length))
  for (const { start, end } of parts)
    for (let at = start; at < end; at += BigInt(PIECE)) {
      // One more in front, for what stands before a name.
      const from = at === start ? at : at - 1n
      const length = Math.min(PIECE + overlap + 1, Number(end - from))
      const memory = Buffer.from(process.read(from, length))
      for (const { name, bytes } of needles)
        for (let i = memory.indexOf(bytes); i >= 0; i = memory.indexOf(bytes, i + 1))
          if (i > 0 || from === start) yield { name, at: Number(from) + i, isWhole: i === 0 || !isCharacter(memory[i - 1] as number) }
    }
}

/** ASCII's, and bytes of UTF-8. */
const isCharacter = (byte: number): boolean => byte >= 0x20 && byte !== 0x7f
