/** The three kinds of program that the corpus is built for. */

export type TargetName = 'elf-x64' | 'pe-x64' | 'elf-arm64'

/** What recipes find in the environment of their commands. */
export interface Toolchain {
  readonly CC: string
  readonly CXX: string
  readonly AR: string
  readonly RANLIB: string
  readonly NM: string
  readonly STRIP: string
  /** For configure scripts. */
  readonly HOSTARG: string
  readonly EXE: string
  readonly SO: string
  /** How CC links a shared library, and what its objects need for that. */
  readonly LDSH: string
  readonly PIC: string
  /** cmake with everything that says what it builds for. */
  readonly CMAKE: string
}

/** `triple` is undefined for the machine itself. */
function gnu(
  triple: string | undefined,
  rest: Pick<Toolchain, 'EXE' | 'SO' | 'LDSH' | 'PIC'>,
  cmakeSystem: string,
  cxx = 'g++',
): Toolchain {
  const tool = (name: string) => (triple === undefined ? name : `${triple}-${name}`)
  const cross =
    triple === undefined
      ? []
      : [
          cmakeSystem,
          `-DCMAKE_C_COMPILER=${tool('gcc')}`,
          `-DCMAKE_CXX_COMPILER=${tool(cxx)}`,
          `-DCMAKE_FIND_ROOT_PATH=/usr/${triple}`,
          '-DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER',
          ...['LIBRARY', 'INCLUDE', 'PACKAGE'].map((what) => `-DCMAKE_FIND_ROOT_PATH_MODE_${what}=ONLY`),
        ]
  return {
    CC: tool('gcc'),
    CXX: tool(cxx),
    AR: tool('ar'),
    RANLIB: tool('ranlib'),
    NM: tool('nm'),
    STRIP: tool('strip'),
    HOSTARG: triple === undefined ? '' : `--host=${triple}`,
    CMAKE: ['cmake -G Ninja -DCMAKE_BUILD_TYPE=None', ...cross].join(' '),
    ...rest,
  }
}

export const TRIPLE_OF_ARM64 = 'aarch64-linux-gnu'

const ELF = { EXE: '', SO: '.so', LDSH: '-shared -fPIC', PIC: '-fPIC' }
const PE = { EXE: '.exe', SO: '.dll', LDSH: '-shared', PIC: '' }

export const toolchains: Readonly<Record<TargetName, Toolchain>> = {
  'elf-x64': gnu(undefined, ELF, ''),
  'elf-arm64': gnu(TRIPLE_OF_ARM64, ELF, '-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64'),
  'pe-x64': gnu(
    'x86_64-w64-mingw32',
    PE,
    '-DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=AMD64 -DCMAKE_RC_COMPILER=x86_64-w64-mingw32-windres',
    'g++-posix',
  ),
}

export const isTarget = (name: string): name is TargetName => Object.hasOwn(toolchains, name)

/** What compilers, linkers and cmake are told of libraries that lie below `root` as they would below `/`. */
function found(root: string): { readonly compiler: string; readonly linker: string; readonly cmake: string } {
  const [headers, libraries] = [`${root}/usr/include`, `${root}/usr/lib/${TRIPLE_OF_ARM64}`]
  return {
    compiler: ` -isystem ${headers} -isystem ${headers}/${TRIPLE_OF_ARM64}`,
    linker: `-L${libraries} -Wl,-rpath-link=${libraries}`,
    cmake: ` -DCMAKE_FIND_ROOT_PATH=/usr/${TRIPLE_OF_ARM64};${root}`,
  }
}

const NOTHING = { compiler: '', linker: '', cmake: '' }

/**
 * The environment of a recipe's commands that work in `tree`. The two builds of an entry are made with the same.
 * @param sysroot of libraries for ARM64
 */
export function environmentFor(target: TargetName, tree: string, sysroot: string | undefined): Record<string, string> {
  const { compiler, linker, cmake } = sysroot === undefined ? NOTHING : found(sysroot)
  const CFLAGS = `-O2 -g -ffunction-sections -fdata-sections -ffile-prefix-map=${tree}=.${compiler}`
  const toolchain = toolchains[target]
  return {
    ...toolchain,
    ...(target === 'elf-arm64' ? { RUN: `qemu-aarch64 -L /usr/${TRIPLE_OF_ARM64}` } : {}),
    CMAKE: `${toolchain.CMAKE}${cmake}`,
    ...(sysroot === undefined ? {} : { LDFLAGS: linker }),
    TARGET: target,
    TREE: tree,
    CFLAGS,
    CXXFLAGS: CFLAGS,
    // A changed configure.ac must not start autotools: their output differs from version to version.
    NOREGEN: 'AUTOCONF=: AUTOMAKE=: ACLOCAL=: AUTOHEADER=: MAKEINFO=:',
    LC_ALL: 'C',
    SOURCE_DATE_EPOCH: '1700000000',
    MAKEFLAGS: '',
  }
}
