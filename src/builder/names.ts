/**
 * What a symbol's name tells. Compilers number what has no name of its own in the source, and the numbers move with every edit
 * above: such names are compared without them, or not at all.
 */

/** Names for constants that have no identity but their bytes. They are compared by what they hold and travel with their user. */
const CONSTANT_NAMES: readonly { readonly pattern: RegExp; readonly made: string }[] = [
  { pattern: /^\.L/, made: 'gcc, clang: labels of constants, where the assembler keeps them (.LC0, .Lswitch.table.f)' },
  { pattern: /^(__func__|__FUNCTION__|__PRETTY_FUNCTION__)(\.|$)/, made: 'gcc: the name of the function as a string' },
  { pattern: /^CSWTCH\.\d+$/, made: 'gcc: a switch turned into a table' },
  { pattern: /^C\.\d+\.\d+$/, made: 'gcc: the initial value of a local array' },
  { pattern: /^switch\.table\./, made: 'clang: a switch turned into a table' },
  { pattern: /^__const\./, made: 'clang: the initial value of a local array' },
  { pattern: /^(\.compoundliteral|\.str)(\.\d+)*$/, made: 'clang: literals' },
  { pattern: /^GCC_except_table\d+$/, made: 'clang: exception tables' },
  { pattern: /^\?\?_C@/, made: 'MSVC: string literals' },
  { pattern: /^__(real|xmm|ymm|zmm)@/, made: 'MSVC: floating-point and vector constants' },
  { pattern: /^\.refptr\./, made: 'mingw: a pointer to something that may lie in another DLL' },
  { pattern: /^DW\.ref\./, made: 'gcc, clang: a pointer for unwind tables' },
  { pattern: /^(\.Lanon|anon|alloc)[._][0-9a-f]{8,}/, made: 'rustc: literals' },
]

/** Sections whose contents are constants whatever their symbols are called. */
const CONSTANT_SECTIONS = /^(\.gcc_except_table|\.xdata|\.rdata\$\.refptr\.|\.rodata\.(str|cst)\d)/

/** Writable sections that hold only pointers for the use of one function or table each. */
const POINTER_NAMES = /^(\.refptr\.|DW\.ref\.)/

export const isConstantName = (name: string): boolean => CONSTANT_NAMES.some(({ pattern }) => pattern.test(name))
export const isConstantSection = (section: string): boolean => CONSTANT_SECTIONS.test(section)
export const isPointerName = (name: string): boolean => POINTER_NAMES.test(name)

/**
 * A name without the numbers that a compiler put there: `state.1234` → `state`, `parse.constprop.0.isra.1` → `parse.constprop.isra`,
 * rustc's hashes (`…17h0123456789abcdefE`) → none.
 */
export const unnumbered = (name: string): string => name.replace(/\.\d+(?=\.|$)/g, '').replace(/17h[0-9a-f]{16}E/, 'E')

const FRAGMENT = /^(.+)\.cold(\.\d+)?$/

/** The function that `name` is the rarely executed part of: jumped into at any offset, never called. */
export const fragmentOf = (name: string): string | undefined => FRAGMENT.exec(name)?.[1]

/** A symbol's name without its version (`stdout@GLIBC_2.2.5`). MSVC's names begin with `?` and use `@` for other things. */
export function unversioned(name: string): string {
  if (name.startsWith('?') || name.startsWith('__imp_?') || isConstantName(name)) return name
  const at = name.indexOf('@')
  return at > 0 ? name.slice(0, at) : name
}

/** Sections whose entries the program's start or end runs. */
const STARTUP_SECTIONS = /^(\.preinit_array|\.init_array|\.fini_array|\.ctors|\.dtors|\.CRT\$X|\.init$|\.fini$)/
export const isStartupSection = (section: string): boolean => STARTUP_SECTIONS.test(section)

/** Sections that say something about functions and are not reached from any code: their changes are no change of the program. */
const BOOKKEEPING_SECTIONS = /^(__patchable_function_entries|__mcount_loc|\.note|\.comment|\.llvm_addrsig|\.drectve|\.debug)/
export const isBookkeeping = (section: string): boolean => BOOKKEEPING_SECTIONS.test(section)

/** Functions that a process runs once and has left, or sits in, when a patch comes. */
export const runsOnce = (name: string): boolean => /^(main|wmain|WinMain|wWinMain)$/.test(name) || name.startsWith('_GLOBAL__')

/** The file's name without folders, whichever way the slashes lean. */
export const fileName = (path: string): string => path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
