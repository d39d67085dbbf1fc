/** Unwind data of a module, read from the memory of a process and compiled. */
import { createHash } from 'node:crypto'
import { ehFrameInMemory } from '../../binary/elf/eh-frame.ts'
import { readElfFromMemory } from '../../binary/elf/memory.ts'
import { Blocks } from '../../binary/pe/blocks.ts'
import { readExports } from '../../binary/pe/directories.ts'
import { PeFrames, RUNTIME_FUNCTION_SIZE, UNWIND_INFORMATION_SIZE } from '../../binary/pe/frames.ts'
import { directory, type PeImage, readPeFromMemory } from '../../binary/pe/reader.ts'
import type { Unwinding } from '../../machine/architecture.ts'
import type { TableBuilder } from '../../machine/x64/frames.ts'
import type { FrameModule } from '../../machine/x64/unwind.ts'
import type { MappedModule, Process } from '../../process/contract.ts'
import type { Ledger } from '../ledger.ts'
import { readOrNothing } from '../pages.ts'

export type Compiled = Pick<FrameModule, 'table' | 'windows'>

/** Processes of one program have the same libraries: what was compiled for one serves the others. By what it was compiled from; of these, the last used. */
const kept = new Map<string, Kept>()
const MOST_KEPT = 64

interface Kept {
  readonly compiled: Compiled
  /** What was read for it besides what its key names. */
  readonly pieces: readonly Piece[]
}

/** Memory of a module. */
interface Piece {
  readonly rva: number
  readonly length: number
  readonly digest: string
}

function once(key: string, isSame: (pieces: readonly Piece[]) => boolean, compile: () => Kept): Compiled {
  const before = kept.get(key)
  const result = before !== undefined && isSame(before.pieces) ? before : compile()
  kept.delete(key)
  kept.set(key, result)
  for (const oldest of kept.keys()) {
    if (kept.size <= MOST_KEPT) break
    kept.delete(oldest)
  }
  return result.compiled
}

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** The module that lies at `base` has been found by the loader's own list. Throws what reading it throws. */
export const compileModule = (process: Process, module: MappedModule, unwinding: Unwinding): Compiled =>
  module.format === 'elf' ? compileElf(process, module.base, unwinding) : compilePe(process, module, unwinding)

export function compileElf(process: Process, base: bigint, { frameTable, ehFrameTable }: Unwinding): Compiled {
  const frames = ehFrameInMemory(readElfFromMemory(base, (address, length) => process.read(address, length)))
  if (frames === undefined) return { table: frameTable([]) }
  const { address, data } = frames
  // Its pointers are relative to their own places; where they are not, the loader has made them others at another base.
  return once(
    `elf ${process.machine} ${address - base} ${sha256(data)}`,
    () => true,
    () => ({ compiled: { table: ehFrameTable(data, Number(address), Number(base)) }, pieces: [] }),
  )
}

function compilePe(process: Process, module: MappedModule, unwinding: Unwinding): Compiled {
  const { base, size, path } = module
  return once(
    `pe ${process.machine} ${path} ${size}`,
    (pieces) => pieces.every(({ rva, length, digest }) => sha256(readOrNothing(process, base + BigInt(rva), length)) === digest),
    () => {
      const pieces: Piece[] = []
      const blocks = new Blocks((rva, length) => {
        const data = process.read(base + BigInt(rva), length)
        pieces.push({ rva, length, digest: sha256(data) })
        return data
      }, size)
      return { compiled: compileDirectory(process, module, blocks, unwinding), pieces }
    },
  )
}

function compileDirectory({ machine }: Process, { name }: MappedModule, blocks: Blocks, unwinding: Unwinding): Compiled {
  const image = readPeFromMemory(blocks.read)
  const exceptions = directory(image, 'EXCEPTION')
  const records = exceptions === undefined ? new Uint8Array() : blocks.read(exceptions.rva, exceptions.size)
  const dispatchers = name.toLowerCase() === 'ntdll.dll' ? dispatchersOf(image) : []
  return forWindows(readAhead(machine, records, blocks), unwinding, dispatchers)
}

/** What stacks that are walked in a stop, or later those of another process, can ask for is read now. */
function readAhead(machine: Process['machine'], records: Uint8Array, blocks: Blocks): PeFrames {
  const frames = new PeFrames(machine, records, blocks.read)
  blocks.ahead(frames.information(), UNWIND_INFORMATION_SIZE)
  blocks.close()
  return frames
}

/**
 * Functions of ntdll that the kernel makes a thread begin with in the middle of something else. Windows describes what it interrupted as a
 * machine frame, Wine as if it had called them.
 */
const DISPATCHERS: ReadonlySet<string> = new Set(['KiUserExceptionDispatcher', 'KiUserApcDispatcher'])

/** Their RVAs. */
const dispatchersOf = (image: PeImage): number[] =>
  (readExports(image)?.exports ?? []).filter(({ name }) => name !== undefined && DISPATCHERS.has(name)).map(({ rva }) => rva)

function forWindows(frames: PeFrames, { framesByNeed }: Unwinding, dispatchers: readonly number[]): Compiled {
  const append = (index: number, rows: TableBuilder): void => {
    const { begin, end, described } = frames.at(index)
    if (described === undefined) return
    const signal = described.signal || dispatchers.some((rva) => rva >= begin && rva < end)
    rows.appendRows({ ...described, signal }, end)
  }
  return { table: framesByNeed({ count: frames.count, indexAt: (rva) => frames.indexAt(rva), append }), windows: frames }
}

/** Of a ledger's patch image, which is mapped. */
export function compileImage(process: Process, { image, unwind }: Ledger, unwinding: Unwinding): Compiled {
  if (unwind?.kind === 'pdata') {
    const blocks = new Blocks((rva, length) => process.read(unwind.imageBase + BigInt(rva), length), image.size)
    const records = process.read(unwind.address, unwind.count * RUNTIME_FUNCTION_SIZE[process.machine])
    return forWindows(readAhead(process.machine, records, blocks), unwinding, [])
  }
  if (unwind === undefined) return { table: unwinding.frameTable([]) }
  const section = process.read(unwind.address, unwind.size)
  return { table: unwinding.ehFrameTable(section, Number(unwind.address), Number(image.address)) }
}
