/** What Windows does for a process that loads a DLL of thread-local data: files, modules, and a copy of the block for every thread. */
import { readTlsDirectory } from '../../binary/pe/directories.ts'
import { readPe } from '../../binary/pe/reader.ts'
import { mapped } from '../../binary/pe/testing/mapped.ts'
import { encodeExports, layOut, writePe } from '../../binary/pe/writer.ts'
import { viewOf } from '../../binary/struct.ts'
import type { FakeModule, FakeTarget, FakeThread } from '../../process/fake/index.ts'

const KERNEL32 = 0x7ff8_0000_0000n
const FUNCTIONS = ['GetTempPathW', 'CreateFileW', 'WriteFile', 'CloseHandle', 'DeleteFileW', 'LoadLibraryExW', 'FreeLibrary'] as const
export type FunctionName = (typeof FUNCTIONS)[number]
export const addressOf = (name: FunctionName): bigint => KERNEL32 + BigInt(rvaOf(name))
const rvaOf = (name: FunctionName): number => 0x3000 + 0x10 * FUNCTIONS.indexOf(name)

const FOLDER = 'C:\\Temp\\'
const INVALID_HANDLE_VALUE = 0xffff_ffff_ffff_ffffn
const TEBS = 0x5_0000_0000n
const VECTORS = 0x6_0000_0000n
const BLOCKS = 0x7_0000_0000n
const DLLS = 0x7ff7_0000_0000n

export interface WindowsLoader {
  /** By path. */
  readonly files: Map<string, Uint8Array>
  /** Files that are open for writing. */
  readonly open: Map<bigint, string>
  /** DLLs that were loaded, in order, by path, and of those the ones that still are. */
  readonly loads: string[]
  readonly loaded: Map<bigint, { readonly path: string; readonly index: number }>
  /** Threads that it forgets. */
  readonly forgets: Set<number>
  /** Calls that answer an error. */
  readonly failing: Set<FunctionName>
}

/** kernel32.dll as far as it is looked at. */
export function kernel32(): FakeModule {
  const exports = FUNCTIONS.map((name) => ({ name, rva: rvaOf(name) }))
  let [rva, content] = [0, new Uint8Array()]
  layOut(['.edata'], (_, at) => {
    rva = at
    content = Uint8Array.from(encodeExports('KERNEL32.dll', at, exports))
    return content.length
  })
  const file = writePe({
    machine: 0x8664,
    imageBase: KERNEL32,
    dllCharacteristics: 0,
    sections: [
      { name: '.edata', rva, size: content.length, content, characteristics: 0x4000_0040 },
      { name: '.text', rva: 0x3000, size: 0x1000, content: new Uint8Array(), characteristics: 0x6000_0020 },
    ],
    directories: { EXPORT: { rva, size: content.length } },
    symbols: [],
  })
  return moduleOf('C:\\windows\\system32\\kernel32.dll', KERNEL32, mapped(file))
}

const moduleOf = (path: string, base: bigint, memory: Uint8Array): FakeModule => ({
  path,
  base,
  format: 'pe',
  segments: [{ offset: 0, size: memory.length, protection: 'rw', content: memory }],
})

/** Two threads that run, with vectors of blocks, and one that has none yet. */
export const windowsThreads = (): FakeThread[] =>
  [1, 2, 3].map((id) => ({
    id,
    name: '',
    instructionPointer: 0x7000_0000_0000n,
    stackPointer: 0x7000_1000_0000n,
    teb: TEBS + BigInt(0x1_0000 * id),
  }))

const vectorOf = (id: number): bigint => VECTORS + BigInt(0x1_0000 * id)
const HAS_NO_VECTOR = 3

/** Acts out calls in `target`, which has the threads above. */
export function withWindowsLoader(target: FakeTarget): WindowsLoader {
  const model: WindowsLoader = { files: new Map(), open: new Map(), loads: [], loaded: new Map(), forgets: new Set(), failing: new Set() }
  for (const { id, teb = 0n } of target.threads) {
    target.addMapping(teb, 0x2000, 'rw', new Uint8Array(), '')
    target.addMapping(vectorOf(id), 0x1000, 'rw', new Uint8Array(), '')
    if (id !== HAS_NO_VECTOR) target.poke(teb + 0x58n, word(vectorOf(id)))
  }
  const text = (bytes: unknown): string =>
    Buffer.from(bytes as Uint8Array)
      .toString('utf16le')
      .replace('\0', '')
  let handles = 0x40n
  let blocks = BLOCKS
  const load = (path: string, file: Uint8Array): bigint => {
    const base = DLLS + 0x100_0000n * BigInt(model.loads.length)
    const used = new Set([...model.loaded.values()].map(({ index }) => index))
    const index = [5, 6, 7, 8, 9, 10].find((number) => !used.has(number)) ?? 11
    const memory = mapped(file)
    const image = readPe(file)
    const { StartAddressOfRawData: start, EndAddressOfRawData: end, AddressOfIndex: at } = readTlsDirectory(image) ?? { ...NOTHING }
    const rva = (address: bigint): number => Number(address - image.optionalHeader.ImageBase)
    viewOf(memory).setUint32(rva(at), index, true)
    target.addModule(moduleOf(path, base, memory))
    for (const { id } of target.threads) {
      if (id === HAS_NO_VECTOR || model.forgets.has(id)) continue
      target.addMapping(blocks, 0x1000, 'rw', memory.slice(rva(start), rva(end)), '')
      target.poke(vectorOf(id) + 8n * BigInt(index), word(blocks))
      blocks += 0x1000n
    }
    model.loads.push(path)
    model.loaded.set(base, { path, index })
    return base
  }
  const calls: Readonly<Record<FunctionName, (...args: unknown[]) => bigint>> = {
    GetTempPathW: (_size, into) => (target.poke(into as bigint, Buffer.from(`${FOLDER}\0`, 'utf16le')) ? BigInt(FOLDER.length) : 0n),
    CreateFileW: (path) => {
      if (model.files.has(text(path))) return INVALID_HANDLE_VALUE
      model.files.set(text(path), new Uint8Array())
      model.open.set(++handles, text(path))
      return handles
    },
    WriteFile: (handle, bytes) => {
      const path = model.open.get(handle as bigint) ?? ''
      model.files.set(path, Buffer.concat([model.files.get(path) ?? new Uint8Array(), bytes as Uint8Array]))
      return 1n
    },
    CloseHandle: (handle) => BigInt(model.open.delete(handle as bigint)),
    DeleteFileW: (path) => {
      const isUsed = [...model.loaded.values(), ...[...model.open.values()].map((open) => ({ path: open }))].some(
        (l) => l.path === text(path),
      )
      return BigInt(!isUsed && model.files.delete(text(path)))
    },
    LoadLibraryExW: (path) => load(text(path), new Uint8Array(model.files.get(text(path)) ?? [])),
    FreeLibrary: (base) => {
      target.removeModule(base as bigint)
      return BigInt(model.loaded.delete(base as bigint))
    },
  }
  target.onCall = (address, args) => {
    const name = FUNCTIONS.find((f) => addressOf(f) === address)
    if (name === undefined) throw new Error(`a call of ${address.toString(16)}`)
    // A BOOL and a HMODULE say so by 0.
    if (model.failing.has(name)) return name === 'CreateFileW' ? INVALID_HANDLE_VALUE : 0n
    return calls[name](...args)
  }
  return model
}

const NOTHING = { StartAddressOfRawData: 0n, EndAddressOfRawData: 0n, AddressOfIndex: 0n }

function word(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  viewOf(bytes).setBigUint64(0, value, true)
  return bytes
}
