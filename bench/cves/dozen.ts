/** Entries that are tried more often, or in more places, than all. */
import type { TargetName } from './targets.ts'

/** Small entries of many classes, which CI tries each time. */
export const DOZEN: readonly (readonly [string, TargetName])[] = [
  ['cjson--0001-add-null-checkings', 'elf-x64'],
  ['cjson--CVE-2025-57052', 'pe-x64'],
  ['giflib--CVE-2026-23868', 'elf-arm64'],
  ['giflib--CVE-2026-23868', 'pe-x64'],
  ['yajl--CVE-2023-33460', 'elf-x64'],
  ['yajl--CVE-2022-24795', 'pe-x64'],
  ['expat--CVE-2024-45491', 'elf-x64'],
  ['expat--expat-2.5.0-CVE-2024-8176', 'elf-x64'],
  ['expat--expat-2.5.0-CVE-2024-50602', 'pe-x64'],
  ['lua5.4--0004-cve-2022-28805', 'elf-x64'],
  ['mosquitto--CVE-2023-0809', 'elf-x64'],
  ['mosquitto--CVE-2023-0809', 'pe-x64'],
]

/** Those that processes of the emulated ARM64 machine are patched with. */
export const DOZEN_ON_ARM64: readonly string[] = [
  'cjson--0001-add-null-checkings',
  'cjson--0002-add-null-check-to-cjson-setvaluestring',
  'cjson--0001-allocate-memory-for-the-temporary-buffer',
  'cjson--CVE-2025-57052',
  'expat--CVE-2024-45490',
  'expat--expat-2.5.0-CVE-2024-50602',
  'giflib--CVE-2026-23868',
  'lua5.4--0004-cve-2022-28805',
  'lua5.4--0005-cve-2022-33099',
  'yajl--CVE-2017-16516',
  'yajl--CVE-2022-24795',
  'yajl--CVE-2023-33460',
]
