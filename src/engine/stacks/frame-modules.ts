/**
 * The unwind data of everything executable in a process, compiled before it is stopped. What was compiled is kept for the next try:
 * a module that is the same by path, place and size has the same code.
 */

import { HotpatchError } from '../../errors.ts'
import type { Unwinding } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { FrameModule } from '../../machine/x64/unwind.ts'
import type { Process, Region } from '../../process/contract.ts'
import { findLedgers } from '../find-ledgers.ts'
import type { Ledger } from '../ledger.ts'
import { PAGE } from '../pages.ts'
import { type Compiled, compileElf, compileImage, compileModule } from './compiled.ts'

/** The kernel's own shared object in every process on Linux, as the memory map names it. */
const VDSO = '[vdso]'

/** The frame modules of one process. */
export class FrameModules {
  readonly #process: Process
  readonly #unwinding: Unwinding
  #known = new Map<string, Compiled>()
  #modules: readonly FrameModule[] = []
  #executable = ''

  constructor(process: Process) {
    this.#process = process
    this.#unwinding = architectureOf(process.machine).unwinding
  }

  /**
   * Every module with its table, ascending: those of the loader, the kernel's, and what hotpatch has mapped. A module whose unwind data
   * cannot be read has none: walks that come to it are lost there. `regions` as the process has just told them.
   * Throws PROCESS_GONE, PERMISSION_DENIED.
   */
  of(regions: readonly Region[]): readonly FrameModule[] {
    const executable = regions.map(({ start, end, name, execute }) => (execute ? `${start} ${end} ${name}` : '')).join('\n')
    if (executable !== this.#executable) {
      this.#modules = this.#list(regions)
      this.#executable = executable
    }
    return this.#modules
  }

  #list(regions: readonly Region[]): FrameModule[] {
    const process = this.#process
    const unwinding = this.#unwinding
    const found = new Map<string, Compiled>()
    const modules: FrameModule[] = []
    const add = (key: string, start: bigint, size: number, compile: () => Compiled): void => {
      const compiled = this.#known.get(key) ?? compiledOrNone(compile, unwinding)
      found.set(key, compiled)
      modules.push({ start: Number(start), end: Number(start) + size, ...compiled })
    }
    for (const module of process.modules())
      add(`${module.format} ${module.path} ${module.base} ${module.size} ${module.deleted}`, module.base, module.size, () =>
        compileModule(process, module, unwinding),
      )
    for (const { name, start, end } of regions)
      if (name === VDSO) add(`${name} ${start}`, start, Number(end - start), () => compileElf(process, start, unwinding))
    for (const ledger of findLedgers(process, regions).ledgers) addOurs(process, ledger, add, unwinding)
    this.#known = found
    return apart(modules)
  }
}

const known = new WeakMap<Process, FrameModules>()

/** The frame modules of `process`, the same for as long as it is open. */
export function frameModulesOf(process: Process): FrameModules {
  const modules = known.get(process) ?? new FrameModules(process)
  known.set(process, modules)
  return modules
}

/** The patch image of a ledger, and its stubs: each is one jump, which moves nothing. */
function addOurs(
  process: Process,
  ledger: Ledger,
  add: (key: string, start: bigint, size: number, compile: () => Compiled) => void,
  unwinding: Unwinding,
): void {
  const { address, size } = ledger.image
  const key = `${ledger.address} ${address} ${Buffer.from(ledger.image.fileSha256).toString('hex')}`
  // While it is being loaded, nothing need be there yet, and nobody is in it; so it is once it is being taken away.
  if (ledger.state !== 'loading' && ledger.imageState === 'mapped')
    add(`image ${key}`, address, size, () => compileImage(process, ledger, unwinding))
  for (let pair = 0; pair < ledger.pairCount; pair++)
    add(`stubs ${key} ${pair}`, ledger.address + BigInt(ledger.pairsOffset + pair * 2 * PAGE), PAGE, () => ({
      table: unwinding.leafTable(),
    }))
}

function compiledOrNone(compile: () => Compiled, { frameTable }: Unwinding): Compiled {
  try {
    return compile()
  } catch (error) {
    if (!(error instanceof HotpatchError) || error.code === 'PROCESS_GONE' || error.code === 'PERMISSION_DENIED') throw error
    return { table: frameTable([]) }
  }
}

/** Ascending, and cut where one would reach into the next. */
function apart(modules: readonly FrameModule[]): FrameModule[] {
  const sorted = [...modules].sort((a, b) => a.start - b.start)
  return sorted.map((module, i) => ({ ...module, end: Math.min(module.end, sorted[i + 1]?.start ?? module.end) }))
}
