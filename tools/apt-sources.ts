/** apt's two kinds of source files (sources.list(5)), rewritten for an apt state of our own: other packages, another processor. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface SourceFile {
  readonly name: string
  readonly text: string
}

/** What is asked for: packages to install, or the sources that they are made of. */
export type SourceType = 'deb' | 'deb-src'

/** One file in deb822 style that has the `type` twin of every Debian source among `files`, and nothing else. */
export function debianSources(files: readonly SourceFile[], type: SourceType): string {
  const stanzas = files.flatMap(({ name, text }) => (name.endsWith('.sources') ? deb822(text, type) : oneLine(text, type)))
  if (stanzas.length === 0) throw new Error('apt on this machine has no Debian source to take packages from')
  return stanzas.join('\n\n').concat('\n')
}

/** Another release of Debian, from the mirrors that the machine's own packages come from: its security archive has no part in it. */
export function suiteSources(files: readonly SourceFile[], suite: string): string {
  const stanzas = debianSources(files, 'deb')
    .trim()
    .split('\n\n')
    .filter((stanza) => !/^URIs:.*\/debian-security/m.test(stanza))
    .map((stanza) => stanza.replace(/^Suites:.*$/m, `Suites: ${suite}`).replace(/^Components:.*$/m, 'Components: main'))
  if (stanzas.length === 0) throw new Error(`apt on this machine has no mirror of Debian to take packages of ${suite} from`)
  return [...new Set(stanzas)].join('\n\n').concat('\n')
}

/** The texts of all files that say where the machine's packages come from. */
export function machineSources(): SourceFile[] {
  const parts = '/etc/apt/sources.list.d'
  const files = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []
  return ['/etc/apt/sources.list', ...files]
    .filter((path) => existsSync(path) && /\.(list|sources)$/.test(path))
    .map((path) => ({ name: path, text: readFileSync(path, 'utf8') }))
}

const DEBIAN = /\/debian(-security)?\/?(\s|$)/m

function deb822(text: string, type: SourceType): string[] {
  return text
    .split(/\n\s*\n/)
    .map((stanza) => stanza.trim().replace(/^#.*\n?/gm, ''))
    .filter(
      (stanza) => /^Types:.*\bdeb\b/m.test(stanza) && DEBIAN.test(/^URIs:.*$/m.exec(stanza)?.[0] ?? '') && !/^Enabled:\s*no/im.test(stanza),
    )
    .map((stanza) => stanza.replace(/^Types:.*$/m, `Types: ${type}`))
}

/** `deb [options] URI suite component...` */
function oneLine(text: string, type: SourceType): string[] {
  return text.split('\n').flatMap((line) => {
    const [, options = '', uri = '', suite = '', components = ''] = /^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line.trim()) ?? []
    if (!DEBIAN.test(uri)) return []
    const signed = /signed-by=(\S+)/.exec(options)?.[1]
    const fields = [`Types: ${type}`, `URIs: ${uri}`, `Suites: ${suite}`, `Components: ${components}`]
    return [[...fields, ...(signed === undefined ? [] : [`Signed-By: ${signed}`])].join('\n')]
  })
}
