/** What several recipes share, as shell scripts. */

/** Configures with cmake in `_b`. `source` is the folder of CMakeLists.txt. */
export const cmake = (source: string, options: readonly string[]): string =>
  `mkdir -p _b && cd _b && $CMAKE ${options.join(' ')} ${source === '.' ? '..' : `../${source}`}`

export const ninja = (goal = ''): string => `ninja -C _b -j2 ${goal}`.trimEnd()

interface Compilation {
  readonly sources: string
  /** The shared library's name without suffix. */
  readonly library: string
  /** Run first each time. */
  readonly prepare?: string
  readonly defines?: string
  readonly libraries?: string
}

/** For packages that are a handful of files: compiles into `_o` what is older than its source or than any header, and links. */
export const compileAll = ({ sources, library, prepare = ':', defines = '', libraries = '' }: Compilation): string => `
mkdir -p _o
${prepare}
for source in ${sources}; do
  object=_o/$(basename $source .c).o
  if [ ! -e $object ] || [ $source -nt $object ] ||
     [ -n "$(find . \\( -name '*.h' -o -name '*.inc' \\) -newer $object -not -path './_o/*' -print -quit)" ]; then
    $CC $CFLAGS $PIC ${defines} -c $source -o $object
  fi
done
$CC $LDSH -o _o/${library}$SO _o/*.o ${libraries}
`
