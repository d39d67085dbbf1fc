/**
 * A stand-in for a compiler, as a shell script: it notes what the compiler is asked for, adds the flags that a patch needs of its objects, and
 * calls it. Compilers are called thousands of times in a build, and by anything: a shell starts in a millisecond and is everywhere.
 *
 * A call that makes a program straight from sources leaves no objects: it is taken apart into one call for each source, and one that links.
 */

/** Added behind all else, so that the build's own opposite flags lose. */
const SECTIONS = '-ffunction-sections -fdata-sections'

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/**
 * @param compiler absolute path of the real one
 * @param records folder for what is noted: a file per process, `cwd NUL count NUL argument NUL …`; `@file` is noted as `@` and what it holds
 */
export const wrapperScript = (compiler: string, records: string): string => `#!/bin/sh
compiler=${quoted(compiler)}
records=${quoted(records)}

note() {
  {
    printf '%s\\0' "$PWD" "$#"
    for noted do
      case $noted in @*) if [ -f "\${noted#@}" ]; then noted="@$(cat "\${noted#@}")"; fi ;; esac
      printf '%s\\0' "$noted"
    done
  } >>"$records/$$"
}

# Options whose value is the next argument.
VALUES='-o -x -include -imacros -isystem -iquote -idirafter -I -L -l -D -U -MF -MT -MQ -Xlinker -Xassembler -Xpreprocessor -T -u -z -arch -target'
has_value() { case " $VALUES " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
is_source() {
  case $1 in
    -*) return 1 ;;
    *.c | *.i | *.cc | *.cp | *.cxx | *.cpp | *.CPP | *.c++ | *.C | *.ii | *.s | *.S | *.sx | *.m | *.mm) return 0 ;;
    *) return 1 ;;
  esac
}

debug=-g only= sources=0 value=
for argument do
  if [ -n "$value" ]; then value=; continue; fi
  if has_value "$argument"; then value=1; continue; fi
  case $argument in
    -c | -S | -E | -M | -MM | -fsyntax-only | '-###' | --version | -dump* | -print* | --print*) only=1 ;;
    -g | -g[0-9] | -ggdb* | -gdwarf* | -gcodeview | -gline*) debug= ;;
    *) if is_source "$argument"; then sources=$((sources + 1)); fi ;;
  esac
done

if [ -n "$only" ] || [ $sources = 0 ]; then
  note "$@"
  exec "$compiler" $debug "$@" ${SECTIONS}
fi

# compile SOURCE OBJECT ARGUMENT...
compile() {
  source=$1 object=$2
  shift 2
  rest=$#
  while [ $rest -gt 0 ]; do
    option=$1
    shift
    rest=$((rest - 1))
    case $option in
      -o | -l | -L | -Xlinker | -T | -u | -z) shift; rest=$((rest - 1)) ;;
      -o* | -l* | -L* | -Wl,* | -shared | -static | -static-* | -pie | -no-pie | -rdynamic | -s) ;;
      *)
        if has_value "$option"; then
          set -- "$@" "$option" "$1"
          shift
          rest=$((rest - 1))
        else
          case $option in -*) set -- "$@" "$option" ;; esac
        fi
        ;;
    esac
  done
  note "$@" -c "$source" -o "$object"
  "$compiler" $debug "$@" ${SECTIONS} -c "$source" -o "$object"
}

objects="$records/objects$PWD"
mkdir -p "$objects"
number=0 value= output=a.out previous=
for argument do
  if [ "$previous" = -o ]; then output=$argument; fi
  previous=$argument
done
for argument do
  if [ -z "$value" ] && is_source "$argument"; then
    number=$((number + 1))
    compile "$argument" "$objects/\${output##*/}.$number.\${argument##*/}.o" "$@" || exit
  fi
  if [ -z "$value" ] && has_value "$argument"; then value=1; else value=; fi
done
number=0 value= left=$#
while [ $left -gt 0 ]; do
  argument=$1
  shift
  left=$((left - 1))
  if [ -z "$value" ] && is_source "$argument"; then
    number=$((number + 1))
    set -- "$@" "$objects/\${output##*/}.$number.\${argument##*/}.o"
  else
    set -- "$@" "$argument"
  fi
  if [ -z "$value" ] && has_value "$argument"; then value=1; else value=; fi
done
note "$@"
exec "$compiler" $debug "$@"
`
