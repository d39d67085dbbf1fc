/**
 * Functions of Windows' libraries through koffi. A library and each of its functions are looked up at their first use, so
 * that these files can be imported on any system, and functions that newer Windows have can be asked for at run time.
 */
import koffi, { type LibraryHandle } from 'koffi'

/** A kernel handle, or a pseudo handle. */
export type Handle = number | bigint
/** INVALID_HANDLE_VALUE, and GetCurrentProcess(): -1 as the unsigned word that koffi gives. */
export const INVALID_HANDLE_VALUE = 0xffff_ffff_ffff_ffffn
/** Memory of this process whose address a call is given. */
export type Memory = Uint8Array | null

/** How koffi names C types here. Addresses in another process are integers, never pointers. */
export const BOOL = 'int32_t'
export const DWORD = 'uint32_t'
export const NTSTATUS = 'int32_t'
export const HANDLE = 'uintptr_t'
export const ADDRESS = 'uintptr_t'
export const SIZE_T = 'uintptr_t'
export const BUFFER = 'void *'
export const WSTR = 'str16'

type Callable = (...args: never[]) => unknown

interface Declaration<F extends Callable> {
  readonly result: string
  readonly parameters: readonly string[]
  readonly type?: F
}

/** The C signature of a function, and its type here. */
export const declare = <F extends Callable>(result: string, parameters: readonly string[]): Declaration<F> => ({ result, parameters })

type Declarations = Record<string, Declaration<Callable>>
type FunctionsOf<D> = { readonly [K in keyof D]: D[K] extends Declaration<infer F> ? F : never }

interface Library<Needed extends Declarations, Newer extends Declarations> {
  /** Functions that every supported Windows has. */
  readonly calls: FunctionsOf<Needed>
  /** Functions that only some have: undefined where the system lacks them. */
  readonly newer: Partial<FunctionsOf<Newer>>
}

export function library<const Needed extends Declarations, const Newer extends Declarations>(
  file: string,
  needed: Needed,
  newer: Newer,
): Library<Needed, Newer> {
  let loaded: LibraryHandle | undefined
  const load = (): LibraryHandle => {
    loaded ??= koffi.load(file)
    return loaded
  }
  const bound = new Map<string, Callable | undefined>()
  const bind = (name: string, { result, parameters }: Declaration<Callable>): Callable =>
    load().func(name, result, [...parameters]) as unknown as Callable
  const remember = (name: string, make: () => Callable | undefined): Callable | undefined => {
    if (!bound.has(name)) bound.set(name, make())
    return bound.get(name)
  }
  const lazily = (declarations: Declarations, get: (name: string, declaration: Declaration<Callable>) => Callable | undefined): object => {
    const functions = {}
    for (const [name, declaration] of Object.entries(declarations))
      Object.defineProperty(functions, name, {
        enumerable: true,
        configurable: true,
        get: () => remember(name, () => get(name, declaration)),
      })
    return functions
  }
  return {
    calls: lazily(needed, bind) as FunctionsOf<Needed>,
    newer: lazily(newer, (name, declaration) => {
      try {
        return bind(name, declaration)
      } catch {
        return undefined
      }
    }) as Partial<FunctionsOf<Newer>>,
  }
}

/** The address of memory of this process, for structures that hold pointers and for alignment. */
export const addressOf = (memory: Uint8Array): bigint => BigInt(koffi.address(memory))

/** Memory of this process that is not JavaScript's, as words: what is stored there is stored at once. */
export const wordsAt = (address: bigint, size: number): Uint32Array => new Uint32Array(koffi.view(address, size))

/** The zero-terminated UTF-16 string at an address of this process. */
export const wideString = (address: bigint): string => koffi.decode.string16(address)
