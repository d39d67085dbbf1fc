/**
 * Names as the ELF loader resolves them. What the program was started with is one list, in the order of the loader's link map: the
 * first module in it that defines a name is the one that everybody uses, whatever library the name was linked against (LD_PRELOAD lives
 * by that). What was loaded later is looked into by its own name alone. (gABI, "Dynamic Linking"; glibc's do_lookup_x for versions.)
 */
import { DT, PT, R_AARCH64, R_X86_64, STT } from '../../binary/elf/definitions.ts'
import { type FoundSymbol, lookUpSymbol } from '../../binary/elf/lookup.ts'
import { type ElfMemoryImage, readElfFromMemory } from '../../binary/elf/memory.ts'
import { struct, u64, viewOf } from '../../binary/struct.ts'
import { HotpatchError } from '../../errors.ts'
import type { PatchImport } from '../../patch/image.ts'
import type { MappedModule, Process } from '../../process/contract.ts'
import type { Found, LoadedModules } from './modules.ts'

interface Module {
  readonly module: MappedModule
  readonly image: ElfMemoryImage
  /** As others ask for it. */
  readonly names: ReadonlySet<string>
}

/** Throws what the process throws. */
export function elfModules(process: Process): LoadedModules {
  const modules = process
    .modules()
    .filter(({ format }) => format === 'elf')
    .flatMap((module) => read(process, module) ?? [])
  const order = linkMap(process, modules)
  const inOrder = order ?? modules
  const global = order === undefined ? [] : order.slice(0, startedWith(order))
  const byName = (library: string): Module | undefined => inOrder.find(({ names }) => names.has(library))

  const find = (wanted: PatchImport, libraries: readonly string[]): Found => {
    const among = libraries.flatMap((library) => byName(library) ?? [])
    const definers = inOrder.flatMap((module) => {
      const symbol = matching(lookUpSymbol(module.image, wanted.name), wanted)
      return symbol === undefined ? [] : [{ module, symbol }]
    })
    const everybodys = definers.find(({ module }) => global.includes(module))
    const named = definers.find(({ module }) => among.includes(module))
    if (named === undefined && everybodys === undefined) throw missing(wanted, libraries)
    // Without the link map nobody knows who comes first.
    if (order === undefined && definers.length > 1)
      throw ambiguous(
        wanted,
        definers.map((d) => d.module.module.path),
      )
    return addressOf((everybodys ?? named) as Definer, wanted, inOrder, process)
  }
  return {
    isLoaded: (library) => byName(library) !== undefined,
    find,
    get loader() {
      for (const { image } of inOrder) {
        const symbol = lookUpSymbol(image, 'dlopen').find((s) => s.defined && s.type === STT.FUNC)
        if (symbol !== undefined) return symbol.value + image.bias
      }
      return undefined
    },
  }
}

interface Definer {
  readonly module: Module
  readonly symbol: FoundSymbol
}

const missing = ({ name, version }: PatchImport, libraries: readonly string[]): HotpatchError =>
  new HotpatchError(
    'IMPORT_MISSING',
    `${libraries.join(' or ')} of the process does not define ${name}${version === undefined ? '' : ` of version ${version}`}`,
  )

const ambiguous = ({ name }: PatchImport, paths: readonly string[]): HotpatchError =>
  new HotpatchError('IMPORT_AMBIGUOUS', `${name} is defined by ${paths.join(' and ')}, and the order of the loader cannot be read`)

/** undefined: the module has no headers or tables that could be read; nothing is taken from it. */
function read(process: Process, module: MappedModule): Module | undefined {
  try {
    const image = readElfFromMemory(module.base, (address, length) => process.read(address, length))
    const soname = image.dynamic?.soname
    return { module, image, names: new Set(soname === undefined ? [module.name] : [soname, module.name]) }
  } catch (error) {
    if (error instanceof HotpatchError && error.code !== 'PROCESS_GONE' && error.code !== 'PERMISSION_DENIED') return undefined
    throw error
  }
}

/** struct link_map of <link.h>, as far as it is public. */
const LinkMap = struct('link_map', { l_addr: u64, l_name: u64, l_ld: u64, l_next: u64, l_prev: u64 })
/** Of `r_map` in struct r_debug. */
const R_MAP = 8n
const MOST_MODULES = 65536

/** The modules in the loader's order, or undefined where the process has no such list. */
function linkMap(process: Process, modules: readonly Module[]): Module[] | undefined {
  const debug = modules[0]?.image.dynamic?.value(DT.DEBUG)
  if (debug === undefined || debug === 0n) return undefined
  const byDynamic = new Map(modules.map((m) => [dynamicAddress(m.image), m]))
  const order: Module[] = []
  try {
    let at = viewOf(process.read(debug + R_MAP, 8)).getBigUint64(0, true)
    for (let steps = 0; at !== 0n && steps < MOST_MODULES; steps++) {
      const entry = LinkMap.readAt(process.read(at, LinkMap.size), 0)
      const module = byDynamic.get(entry.l_ld)
      if (module !== undefined) order.push(module)
      at = entry.l_next
    }
  } catch (error) {
    if (error instanceof HotpatchError && error.code === 'MEMORY_UNREADABLE') return undefined
    throw error
  }
  return order.length === 0 ? undefined : order
}

function dynamicAddress({ segments, bias }: ElfMemoryImage): bigint | undefined {
  const segment = segments.find(({ type }) => type === PT.DYNAMIC)
  return segment && segment.vaddr + bias
}

/** How many modules at the start of the order were there before the program ran: up to the last that the program leads to by DT_NEEDED. */
function startedWith(order: readonly Module[]): number {
  const reached = new Set<Module>()
  const queue = order.slice(0, 1)
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (reached.has(next)) continue
    reached.add(next)
    for (const name of next.image.dynamic?.needed ?? []) queue.push(...order.filter(({ names }) => names.has(name)))
  }
  return Math.max(...[...reached].map((module) => order.indexOf(module))) + 1
}

/** The symbol that the loader would take for the reference, as glibc's check_match does it. */
function matching(symbols: readonly FoundSymbol[], { version }: PatchImport): FoundSymbol | undefined {
  const usable = symbols.filter((s) => s.type !== STT.TLS && (s.defined || s.type === STT.FUNC))
  if (version === undefined) return usable.find((s) => !s.hidden)
  return usable.find((s) => s.version === version) ?? usable.find((s) => s.version === undefined && !s.hidden)
}

function addressOf({ module, symbol }: Definer, wanted: PatchImport, modules: readonly Module[], process: Process): Found {
  const address = symbol.value + module.image.bias
  if (symbol.type !== STT.GNU_IFUNC) return { address }
  const known = boundElsewhere(wanted, module, modules, process)
  return known === undefined ? { resolver: address } : { address: known }
}

/** Relocations whose field holds the address of the symbol, and nothing else. */
const WHOLE_ADDRESSES: ReadonlySet<number> = new Set([R_X86_64.GLOB_DAT, R_X86_64.JUMP_SLOT, R_AARCH64.GLOB_DAT, R_AARCH64.JUMP_SLOT])

/** What the loader has written for the same name into another module's table: the resolver has run already. */
function boundElsewhere(wanted: PatchImport, definer: Module, modules: readonly Module[], process: Process): bigint | undefined {
  const { base, size } = definer.module
  for (const { image } of modules) {
    const { ordinary, plt } = image.dynamicRelocations()
    const symbols = image.dynamicSymbols()
    for (const { type, symbol, offset } of [...ordinary, ...plt]) {
      if (symbol === 0 || symbols[symbol]?.name !== wanted.name) continue
      if (!WHOLE_ADDRESSES.has(type)) continue
      const bound = viewOf(process.read(BigInt(offset) + image.bias, 8)).getBigUint64(0, true)
      // A slot that is not bound yet leads back into its own module.
      if (bound >= base && bound < base + BigInt(size)) return bound
    }
  }
  return undefined
}
