/** Which functions give memory that is all zero: known ones, those that end in them, and variables that point to one. */
import type { Block, GraphSymbol, LinkGraph } from '../graph.ts'
import { unversioned } from '../names.ts'
import { definitionsIn } from '../program.ts'

/** By the contract of the library that has them. */
const ZEROING: ReadonlySet<string> = new Set(['calloc', 'g_malloc0', 'g_malloc0_n', 'g_slice_alloc0', 'recallocarray'])

/** Allocators that leave memory as it is: who calls one of them gives no zeroed memory for certain. */
const PLAIN = /^(m|re|val|pval|memal|aligned_)alloc(array)?$|^posix_memalign$|^sbrk$|^g_(try_)?(malloc|realloc)(_n)?$/

const DEEPEST = 4

export class Allocators {
  readonly #definitions: ReturnType<typeof definitionsIn>

  /** @param graphs of the build before, all of them */
  constructor(graphs: Iterable<LinkGraph>) {
    this.#definitions = definitionsIn(graphs)
  }

  /** Whether what the symbol names (a function, or a variable that points to one) gives zeroed memory. */
  zeroes(symbol: GraphSymbol, depth = 0): boolean {
    const name = unversioned(symbol.name.replace(/^__imp_/, ''))
    if (ZEROING.has(name)) return true
    if (depth > DEEPEST) return false
    const block = symbol.block ?? this.#onlyDefinition(name)
    if (block === undefined) return false
    const targets = block.edges.map((edge) => edge.target)
    if (targets.some((target) => PLAIN.test(unversioned(target.name)))) return false
    return targets.some((target) => mayAllocate(target) && this.zeroes(target, depth + 1))
  }

  #onlyDefinition(name: string): Block | undefined {
    const [only, ...others] = this.#definitions.get(name) ?? []
    return others.length === 0 ? only?.block : undefined
  }
}

const mayAllocate = (symbol: GraphSymbol): boolean => /alloc/i.test(symbol.name)
