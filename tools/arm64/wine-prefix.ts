/** A Wine prefix by hand: `wineboot` makes a whole one, and takes five minutes where the processor is emulated. */

export const WINE_PREFIX = '/wine'
export const WINE64 = '/usr/lib/wine/wine64'
export const WINESERVER = '/usr/lib/wine/wineserver64'
/** Of every program in it. Wine 10 is no Windows that Node knows. Debian's Wine frees what getenv has said of TMPDIR, which must not be set, either. */
export const WINE_ENVIRONMENT: Readonly<Record<string, string>> = {
  WINEPREFIX: WINE_PREFIX,
  WINEARCH: 'win64',
  WINEDEBUG: '-all',
  WINEDLLOVERRIDES: 'mscoree,mshtml=;winemenubuilder.exe=d',
  NODE_SKIP_PLATFORM_CHECK: '1',
}
/** Lines of a shell script that come before the first of them. */
export const PREPARE_WINE: readonly string[] = [
  'unset TMPDIR',
  ...Object.entries(WINE_ENVIRONMENT).map(([name, value]) => `export ${name}='${value}'`),
  `${WINESERVER} -p`,
]

const SYSTEM32 = '/drive_c/windows/system32'
const FOLDERS = [
  ...['', '/dosdevices', '/drive_c', '/drive_c/windows', SYSTEM32, `${SYSTEM32}/drivers`, '/drive_c/windows/temp'],
  ...['/drive_c/users', '/drive_c/users/root', '/drive_c/users/root/Temp'],
]

const HEADER = ['WINE REGISTRY Version 2', '', '#arch=win64', '']
const section = (key: string, values: readonly string[]): string[] => [`[${key.replaceAll('\\', '\\\\')}] 1`, ...values, '']

const USER = [
  ...section('Software\\Wine', ['"Version"="win10"']),
  ...section('Environment', ['"TEMP"="C:\\\\users\\\\root\\\\Temp"', '"TMP"="C:\\\\users\\\\root\\\\Temp"']),
]

const SYSTEM = [
  ...section('Software\\Microsoft\\Windows NT\\CurrentVersion', [
    '"CurrentBuild"="19045"',
    '"CurrentBuildNumber"="19045"',
    '"CurrentVersion"="6.3"',
    '"CurrentMajorVersionNumber"=dword:0000000a',
    '"CurrentMinorVersionNumber"=dword:00000000',
    '"SystemRoot"="C:\\\\windows"',
  ]),
  ...section('System\\CurrentControlSet\\Control\\Session Manager\\Environment', [
    '"OS"="Windows_NT"',
    '"windir"="C:\\\\windows"',
    '"ComSpec"="C:\\\\windows\\\\system32\\\\cmd.exe"',
    '"PATH"="C:\\\\windows\\\\system32;C:\\\\windows"',
  ]),
]

interface PrefixFile {
  /** Below the prefix. */
  readonly name: string
  /** undefined: a folder. */
  readonly content: string | { readonly link: string } | undefined
}

/** Folders first. @param libraries file names of Wine's libraries and programs, which lie in `folder` */
export function prefixFiles(libraries: readonly string[], folder: string): PrefixFile[] {
  return [
    ...FOLDERS.map((name) => ({ name, content: undefined })),
    ...libraries.map((library) => ({ name: `${SYSTEM32}/${library}`, content: { link: `${folder}/${library}` } })),
    { name: '/dosdevices/c:', content: { link: '../drive_c' } },
    { name: '/dosdevices/z:', content: { link: '/' } },
    // Wine is not to bring the prefix up to date by its wine.inf.
    { name: '/.update-timestamp', content: 'disable\n' },
    { name: '/user.reg', content: [...HEADER, ...USER].join('\n') },
    { name: '/system.reg', content: [...HEADER, ...SYSTEM].join('\n') },
  ]
}
