/**
 * How each source package is built. Scripts run in bash with the environment of targets.ts; the second build of an entry is
 * the same script again, so scripts build incrementally.
 */
import { cmake, compileAll, ninja } from './recipe-parts.ts'
import type { TargetName } from './targets.ts'

/** The same script for all targets, or one for some. */
type Script = string | Partial<Record<TargetName, string>>

export type Step = 'configure' | 'build'

export interface ImageRule {
  /** Shell pattern of the linked image below the tree; `$EXE` and `$SO` are the target's suffixes. */
  readonly file: string
  /** The folder whose objects it was linked from. */
  readonly objects: string
}

interface Recipe {
  /** The pinned version. */
  readonly version: string
  /** Run once after unpacking. */
  readonly unpack?: string
  /** Where scripts run, below the tree. */
  readonly folder?: string
  readonly configure?: Script
  readonly build: Script
  /** Debian's packages for ARM64 that it is compiled and linked with there. */
  readonly arm64?: readonly string[]
  readonly images: readonly ImageRule[]
}

const image = (file: string, objects: string): ImageRule => ({ file, objects })

const OPENSSL = ['libssl-dev', 'libssl3'] as const

const off = (...names: string[]) => names.map((name) => `-D${name}=OFF`)
const on = (...names: string[]) => names.map((name) => `-D${name}=ON`)

/** zlib's headers without the host's other headers, which a cross compiler must not see. */
const ZLIB_HEADERS =
  '[ -d _zinc ] || { mkdir _zinc; cp /usr/include/zlib.h /usr/include/zconf.h /usr/include/*/zconf.h _zinc/ 2>/dev/null || true; }'

const NGINX = [
  './configure --prefix=/opt/hotpatch-cves/nginx --with-cc-opt="$CFLAGS" --with-http_ssl_module --with-http_v2_module',
  '--with-http_mp4_module --with-http_dav_module --with-mail --with-mail_ssl_module --with-stream --with-stream_ssl_module',
].join(' ')

const RECIPES: Readonly<Record<string, Recipe>> = {
  cjson: {
    version: '1.7.15-1+deb12u4',
    build: compileAll({ sources: 'cJSON.c cJSON_Utils.c', library: 'libcjson', libraries: '-lm' }),
    images: [image('_o/libcjson$SO', '_o')],
  },

  expat: {
    version: '2.5.0-1+deb12u2',
    unpack: String.raw`sed -i -E 's/^(#cmakedefine|#define) (XML_DTD|XML_NS|XML_GE)$/\1 \2 1/' expat/expat_config.h.cmake`,
    configure: cmake('expat', off('EXPAT_BUILD_TESTS', 'EXPAT_BUILD_EXAMPLES', 'EXPAT_BUILD_DOCS')),
    build: ninja(),
    images: [
      image('_b/libexpat.so', '_b/CMakeFiles/expat.dir'),
      image('_b/libexpat*.dll', '_b/CMakeFiles/expat.dir'),
      image('_b/xmlwf/xmlwf$EXE', '_b/CMakeFiles/xmlwf.dir'),
    ],
  },

  libevent: {
    version: '2.1.12-stable-8+deb12u1',
    configure: cmake('.', [
      ...on('EVENT__DISABLE_OPENSSL', 'EVENT__DISABLE_TESTS', 'EVENT__DISABLE_BENCHMARK', 'EVENT__DISABLE_REGRESS'),
      '-DEVENT__LIBRARY_TYPE=SHARED',
    ]),
    build: ninja(),
    images: [
      image('_b/lib/libevent-*.so', '_b/CMakeFiles/event_shared.dir'),
      image('_b/lib/libevent_core-*.so', '_b/CMakeFiles/event_core_shared.dir'),
      image('_b/lib/libevent_extra-*.so', '_b/CMakeFiles/event_extra_shared.dir'),
      image('_b/lib/libevent_pthreads-*.so', '_b/CMakeFiles/event_pthreads_shared.dir'),
      image('_b/bin/libevent.dll', '_b/CMakeFiles/event_shared.dir'),
      image('_b/bin/libevent_core.dll', '_b/CMakeFiles/event_core_shared.dir'),
      image('_b/bin/libevent_extra.dll', '_b/CMakeFiles/event_extra_shared.dir'),
      image('_b/bin/http-server$EXE', '_b/CMakeFiles/http-server.dir'),
    ],
  },

  mosquitto: {
    version: '2.0.11-1.2+deb12u2',
    configure: cmake('.', [
      ...off('WITH_TLS', 'WITH_TLS_PSK', 'WITH_EC', 'DOCUMENTATION', 'WITH_CJSON', 'WITH_WEBSOCKETS', 'WITH_SRV', 'WITH_SYSTEMD'),
      ...off('WITH_UNIX_SOCKETS', 'WITH_DLT', 'WITH_LIB_CPP', 'WITH_PLUGINS'),
      '$(case $TARGET in pe*) echo -DWITH_THREADING=OFF -DWITH_BUNDLED_DEPS=ON;; esac)',
    ]),
    build: { 'pe-x64': ninja('src/mosquitto.exe'), 'elf-x64': ninja(), 'elf-arm64': ninja() },
    images: [image('_b/src/mosquitto$EXE', '_b/src'), image('_b/lib/libmosquitto.so', '_b/lib')],
  },

  libxml2: {
    version: '2.9.14+dfsg-1.3~deb12u6',
    configure: cmake('.', off('LIBXML2_WITH_ICONV', 'LIBXML2_WITH_LZMA', 'LIBXML2_WITH_PYTHON', 'LIBXML2_WITH_ZLIB', 'LIBXML2_WITH_TESTS')),
    build: ninja(),
    images: [
      image('_b/libxml2.so', '_b/CMakeFiles/LibXml2.dir'),
      image('_b/libxml2.dll', '_b/CMakeFiles/LibXml2.dir'),
      image('_b/xmllint$EXE', '_b/CMakeFiles/xmllint.dir'),
    ],
  },

  'libpng1.6': {
    version: '1.6.39-2+deb12u5',
    build: compileAll({
      sources: ['', 'error', 'get', 'mem', 'pread', 'read', 'rio', 'rtran', 'rutil', 'set', 'trans', 'wio', 'write', 'wtran', 'wutil']
        .map((part) => `png${part}.c`)
        .join(' '),
      prepare: `[ -e pnglibconf.h ] || cp scripts/pnglibconf.h.prebuilt pnglibconf.h; ${ZLIB_HEADERS}`,
      defines: '-I_zinc -DPNG_ARM_NEON_OPT=0 -DPNG_INTEL_SSE_OPT=0',
      library: 'libpng16',
      libraries: '$([ $TARGET = elf-arm64 ] || echo -lz) -lm',
    }),
    images: [image('_o/libpng16$SO', '_o')],
  },

  giflib: {
    version: '5.2.1-2.5+deb12u1',
    build: compileAll({
      sources: 'dgif_lib.c egif_lib.c gifalloc.c gif_err.c gif_font.c gif_hash.c openbsd-reallocarray.c quantize.c',
      library: 'libgif',
    }),
    images: [image('_o/libgif$SO', '_o')],
  },

  libwebp: {
    version: '1.2.4-0.2+deb12u1',
    configure: cmake('.', [
      ...on('BUILD_SHARED_LIBS'),
      ...off('ANIM_UTILS', 'CWEBP', 'DWEBP', 'GIF2WEBP', 'IMG2WEBP', 'VWEBP', 'WEBPINFO', 'WEBPMUX', 'EXTRAS').map((option) =>
        option.replace('-D', '-DWEBP_BUILD_'),
      ),
    ]),
    build: ninja(),
    images: [image('_b/libwebp.so', '_b/CMakeFiles'), image('_b/libwebp*.dll', '_b/CMakeFiles')],
  },

  'lua5.4': {
    version: '5.4.4-3+deb12u1',
    folder: 'src',
    build: compileAll({
      sources: '$(ls *.c | grep -vE "^(luac|lua)\\.c$")',
      prepare: `[ -e lua5.4-deb-multiarch.h ] || echo '#define DEB_HOST_MULTIARCH "multiarch"' > lua5.4-deb-multiarch.h`,
      defines: '-DLUA_COMPAT_5_3 $(case $TARGET in pe*) echo -DLUA_BUILD_AS_DLL;; *) echo -DLUA_USE_POSIX -DLUA_USE_DLOPEN;; esac)',
      library: 'liblua54',
      libraries: '-lm',
    }),
    images: [image('src/_o/liblua54$SO', 'src/_o')],
  },

  jq: {
    version: '1.6-2.1+deb12u2',
    build: compileAll({
      sources: ['builtin', 'bytecode', 'compile', 'execute', 'jv', 'jv_alloc', 'jv_aux', 'jv_dtoa', 'jv_file', 'jv_parse', 'jv_print']
        .concat(['jv_unicode', 'lexer', 'linker', 'locfile', 'parser', 'util', 'main', 'jq_test'])
        .map((name) => `src/${name}.c`)
        .join(' '),
      // What jq's own Makefile generates; only a changed text may get a new time.
      prepare: [
        `echo '#define JQ_VERSION "1.6"' > _o/version.h; cmp -s _o/version.h src/version.h || cp _o/version.h src/version.h`,
        String.raw`sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$/\\n"/' src/builtin.jq > _o/builtin.inc`,
        'cmp -s _o/builtin.inc src/builtin.inc || cp _o/builtin.inc src/builtin.inc',
      ].join('; '),
      defines: [
        '-Isrc -I. -DIEEE_8087=1 -D_GNU_SOURCE=1',
        '$(case $TARGET in',
        'pe*) echo -DWIN32 -DHAVE_TIMEGM=1 -Dtimegm=_mkgmtime -DHAVE_SETLOCALE=1;;',
        '*) echo -DHAVE_ISATTY=1 -DHAVE_STRPTIME=1 -DHAVE_TIMEGM=1 -DHAVE_GMTIME_R=1 -DHAVE_MKTIME=1 -DHAVE_STRFTIME=1',
        '-DHAVE_TM_TM_GMT_OFF=1 -DHAVE_PTHREAD_KEY_CREATE -DHAVE_MEMMEM=1;;',
        'esac)',
      ].join(' '),
      library: 'libjq',
      libraries: '-lm $(case $TARGET in pe*) echo -lshlwapi -lpthread;; *) echo -lpthread;; esac)',
    }),
    images: [image('_o/libjq$SO', '_o')],
  },

  yajl: {
    version: '2.1.0-3+deb12u2',
    build: compileAll({
      sources: ['yajl', 'yajl_alloc', 'yajl_buf', 'yajl_encode', 'yajl_gen', 'yajl_lex', 'yajl_parser', 'yajl_tree', 'yajl_version']
        .map((name) => `src/${name}.c`)
        .join(' '),
      prepare: [
        'mkdir -p _inc/yajl',
        `[ -e _inc/yajl/yajl_version.h ] || { cp src/api/*.h _inc/yajl/; ${yajlVersion()} > _inc/yajl/yajl_version.h; }`,
      ].join('; '),
      defines: '-I_inc -DYAJL_BUILD -std=gnu99',
      library: 'libyajl',
      libraries: '-lm',
    }),
    images: [image('_o/libyajl$SO', '_o')],
  },

  libssh: {
    version: '0.10.6-0+deb12u2',
    configure: cmake('.', off('WITH_GSSAPI', 'WITH_EXAMPLES', 'UNIT_TESTING', 'WITH_ZLIB')),
    build: ninja(),
    arm64: OPENSSL,
    images: [image('_b/lib/libssh.so', '_b/src/CMakeFiles/ssh.dir')],
  },

  curl: {
    version: '7.88.1-10+deb12u15',
    configure: cmake('.', [
      ...off('BUILD_TESTING', 'HTTP_ONLY', 'USE_LIBIDN2', 'CURL_USE_LIBPSL', 'CURL_USE_LIBSSH2', 'CURL_ZLIB', 'CURL_BROTLI'),
      ...off('USE_NGHTTP2', 'ENABLE_MANUAL'),
      ...on('CURL_DISABLE_LDAP', 'CURL_DISABLE_LDAPS', 'ENABLE_WEBSOCKETS'),
      '$(case $TARGET in pe*) echo -DCURL_USE_SCHANNEL=ON;; *) echo -DCURL_USE_OPENSSL=ON;; esac)',
    ]),
    build: ninja(),
    arm64: OPENSSL,
    images: [image('_b/lib/libcurl.so', '_b/lib'), image('_b/lib/libcurl.dll', '_b/lib'), image('_b/src/curl$EXE', '_b/src')],
  },

  redis: {
    version: '5:7.0.15-1~deb12u10',
    build: redisBuild(),
    images: [image('src/redis-server', '.'), image('src/redis-cli', '.')],
  },

  nginx: {
    version: '1.22.1-9+deb12u9',
    configure: {
      'elf-x64': NGINX,
      // It runs what it compiles, and takes the machine that it runs on for the target.
      'elf-arm64': [
        `sed -i 's/^    NGX_MACHINE=.*/    NGX_MACHINE=aarch64/' configure;`,
        String.raw`sed -i "s#-c \$NGX_AUTOTEST#-c \"$RUN \$NGX_AUTOTEST\"#; s#\([^ ]\)\$NGX_AUTOTEST#\1$RUN \$NGX_AUTOTEST#;`,
        String.raw`s#if \$NGX_AUTOTEST #if $RUN \$NGX_AUTOTEST #" auto/feature auto/types/sizeof auto/endianness;`,
        `${NGINX} --with-cc=$CC --with-ld-opt="$LDFLAGS"`,
      ].join(' '),
    },
    build: 'make -j2',
    arm64: [...OPENSSL, 'libpcre2-dev', 'libpcre2-8-0', 'zlib1g-dev', 'zlib1g', 'libcrypt-dev', 'libcrypt1'],
    images: [image('objs/nginx$EXE', 'objs')],
  },

  'xz-utils': {
    version: '5.4.1-1+deb12u2',
    configure: [
      './configure $HOSTARG --disable-xz --disable-xzdec --disable-lzmadec --disable-lzmainfo --disable-scripts --disable-doc',
      '--disable-static --disable-nls',
      '--enable-threads=$(case $TARGET in pe*) echo vista;; *) echo posix;; esac) CFLAGS="$CFLAGS"',
    ].join(' '),
    build: 'make -C src/liblzma -j2 $NOREGEN',
    images: [image('src/liblzma/.libs/liblzma.so', 'src/liblzma'), image('src/liblzma/.libs/liblzma*.dll', 'src/liblzma')],
  },

  haproxy: {
    version: '2.6.12-1+deb12u3',
    build: 'unset MAKEFLAGS; make -j2 TARGET=linux-glibc CC="$CC" CPU_CFLAGS="$CFLAGS" DEBUG_CFLAGS= USE_CRYPT_H= USE_LIBCRYPT= V=0',
    images: [image('haproxy', '.')],
  },

  sqlite3: {
    version: '3.40.1-2+deb12u2',
    configure: [
      'autoreconf -fi >/dev/null 2>&1 || true;',
      './configure $HOSTARG --disable-tcl --disable-amalgamation --disable-static --disable-readline CFLAGS="$CFLAGS";',
      // Debian's Makefile compiles the parser generator for the target, and runs it.
      String.raw`sed -i '/^lemon\$(TEXE):/,+1s/$(LTLINK)/$(BCC)/' Makefile`,
    ].join(' '),
    build: 'make -j2 $NOREGEN libsqlite3.la',
    images: [image('.libs/libsqlite3.so', '.libs')],
  },

  unzip: {
    version: '6.0-28',
    build: [
      'make -f unix/Makefile unzip CC="$CC" LD="$CC" LF2= CF="$CFLAGS -I. -DUNIX -DLARGE_FILE_SUPPORT -DUNICODE_SUPPORT -DUNICODE_WCHAR',
      '-DUTF8_MAYBE_NATIVE -DNO_LCHMOD -DHAVE_DIRENT_H -DHAVE_TERMIOS_H -D_MBCS -DDATE_FORMAT=DF_YMD -DNOMEMCPY=0"',
    ].join(' '),
    images: [image('unzip', '.')],
  },

  squid: {
    version: '5.7-2+deb12u6',
    configure: [
      '[ -x configure ] || ./bootstrap.sh;',
      './configure $HOSTARG --enable-auth-digest=file --enable-auth-basic=fake --disable-external-acl-helpers',
      '--enable-log-daemon-helpers=file --disable-arch-native --without-gnutls --without-libxml2 --without-expat --disable-esi',
      '--disable-translation CFLAGS="$CFLAGS" CXXFLAGS="$CFLAGS"',
      '$([ $TARGET = elf-arm64 ] && echo BUILDCXX=g++ BUILDCXXFLAGS=-O1)',
    ].join(' '),
    build: [
      'make -C src/anyp -j2 $NOREGEN; make -C lib -j2 $NOREGEN; make -C src/auth/digest -j2 $NOREGEN || true;',
      'make -C src $NOREGEN cache_manager.o icp_v2.o peer_digest.o',
    ].join(' '),
    images: [],
  },
}

/** The version that yajl's cmake would fill in. */
function yajlVersion(): string {
  const numbers = { MAJOR: 2, MINOR: 1, MICRO: 0 }
  const edits = Object.entries(numbers).map(([part, value]) => `s/\\\${YAJL_${part}}/${value}/`)
  return `sed -e '${edits.join(';')}' src/api/yajl_version.h.cmake`
}

/**
 * redis' make does not pass our flags to the bundled Lua, and does not notice that Lua changed: both are done here.
 */
function redisBuild(): string {
  const common = [
    'make -j2 MALLOC=libc CC="$CC" AR=$AR RANLIB=$RANLIB OPTIMIZATION="-O2 -fno-lto" DEBUG=-g USE_SYSTEMD=no',
    'CFLAGS="-ffunction-sections -fdata-sections -ffile-prefix-map=$TREE=. "',
  ].join(' ')
  const lua = 'deps/lua/src'
  const luaFlags = '-Wall -DLUA_ANSI -DENABLE_CJSON_GLOBAL -DREDIS_STATIC= -DLUA_USE_MKSTEMP $CFLAGS'
  return [
    'unset MAKEFLAGS',
    // Asked for both at once its outer make starts an inner one for each, and these make the same libraries at the same time.
    `${common} redis-server`,
    `${common} redis-cli`,
    `[ -e .lua-is-ours ] || touch ${lua}/*.c; touch .lua-is-ours`,
    `make -j2 -C ${lua} liblua.a CC="$CC" AR="$AR rc" RANLIB=$RANLIB CFLAGS="${luaFlags}"`,
    `if [ ${lua}/liblua.a -nt src/redis-server ]; then rm -f src/redis-server; ${common} redis-server; fi`,
  ].join('\n')
}

export function recipeOf(name: string): Recipe {
  const recipe = RECIPES[name]
  if (recipe === undefined) throw new Error(`there is no recipe for ${name}`)
  return recipe
}

export function stepOf(name: string, target: TargetName, step: Step): string | undefined {
  const script = recipeOf(name)[step]
  return typeof script === 'string' ? script : script?.[target]
}

export function imagesOf(name: string): readonly ImageRule[] {
  return recipeOf(name).images
}
