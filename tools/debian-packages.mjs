/**
 * The Debian packages that each task needs, and why. `tools/setup.mjs` installs what is missing.
 * A package stands once; `tasks` says who needs it.
 */

/** Every task of `tools/setup.mjs`, with the tasks that it contains. */
export const TASKS = {
  'demo-elf': [],
  'demo-pe': [],
  demo: ['demo-elf'],
  mosquitto: ['demo-elf'],
  'mosquitto-pe': ['mosquitto', 'demo-pe'],
  test: ['demo-elf', 'demo-pe'],
  bench: ['mosquitto'],
  cves: ['mosquitto-pe', 'arm64'],
  arm64: [],
  lint: [],
}

const need = (name, tasks, why) => ({ name, tasks, why })

export const PACKAGES = [
  need('gcc', ['demo-elf', 'demo-pe'], 'compiles the servers that are hotpatched'),
  need('libc6-dev', ['demo-elf'], 'headers and start files of the C library'),
  need('binutils', ['demo-elf', 'demo-pe'], 'readelf and objdump, the second opinion on patch images'),
  need('gcc-mingw-w64-x86-64', ['demo-pe', 'bench'], 'compiles the Windows servers'),
  need('wine64', ['demo-pe'], 'runs the Windows servers, and Windows’ own Node beside them'),
  need('wine', ['demo-pe'], 'the commands that make a Wine prefix'),

  need('dpkg-dev', ['mosquitto'], 'unpacks Debian source packages'),
  need('patch', ['mosquitto', 'test'], 'applies the security fix of a source package'),
  need('cmake', ['mosquitto', 'test'], 'configures mosquitto, libevent, expat, curl, libxml2, libwebp, libssh'),
  need('ninja-build', ['mosquitto', 'test'], 'builds them'),
  need('make', ['mosquitto', 'test'], 'builds the sources without cmake'),

  need('llvm-19', ['test', 'arm64'], 'llvm-readobj, the second opinion on patch images; import libraries for Windows on ARM64'),
  need('clang-19', ['test', 'arm64'], 'the second compiler whose objects the tests patch; compiles for Windows on ARM64'),
  need('clang-14', ['test'], 'Debian 12’s own clang, whose hotpatch padding is not gcc’s'),
  need('lld-19', ['test', 'arm64'], 'links Windows programs: with hotpatch padding, for ARM64'),
  need('gdb', ['test'], 'shows that a debugger understands a patched process'),

  need('g++', ['test', 'cves'], 'compiles C++: exceptions that pass patched functions, squid'),
  need('g++-mingw-w64-x86-64-posix', ['mosquitto-pe', 'test'], 'compiles C++ for Windows; mosquitto’s project asks for it, too'),
  need('qemu-system-arm', ['arm64'], 'libraries for the ARM64 machine’s emulator, which is the backports’ where this one is too old'),
  need('xz-utils', ['arm64'], 'unpacks the modules of the ARM64 machine’s kernel'),
  need('gcc-aarch64-linux-gnu', ['arm64'], 'compiles for ARM64'),
  need('mingw-w64-common', ['arm64'], 'the headers of Windows'),
  need('g++-aarch64-linux-gnu', ['cves'], 'compiles C++ for ARM64; cmake asks for it'),
  need('libc6-dev-arm64-cross', ['arm64'], 'the C library for ARM64'),
  need('qemu-user', ['cves'], 'runs what nginx’ configure script compiles for ARM64'),
  need('autoconf', ['cves'], 'sqlite3, squid'),
  need('automake', ['cves'], 'sqlite3, squid'),
  need('libtool', ['cves'], 'sqlite3, squid'),
  need('pkg-config', ['cves'], 'finds the libraries below'),
  need('bison', ['cves'], 'parsers of jq and others'),
  need('flex', ['cves'], 'scanners of jq and others'),
  need('tcl', ['cves'], 'makes the sources of sqlite3'),
  need('zlib1g-dev', ['cves'], 'libpng, nginx'),
  need('libz-mingw-w64-dev', ['cves'], 'libpng for Windows'),
  need('libssl-dev', ['cves'], 'curl, libssh, nginx'),
  need('libpcre2-dev', ['cves'], 'nginx'),
]

/** All tasks that `task` contains, itself included. */
export function tasksWithin(task) {
  return [task, ...TASKS[task].flatMap(tasksWithin)]
}

/** The packages that `task` needs. */
export function packagesFor(task) {
  const wanted = new Set(tasksWithin(task))
  return PACKAGES.filter((entry) => entry.tasks.some((name) => wanted.has(name)))
}
