/** apt's two kinds of source files (sources.list(5)), rewritten to ask for source packages. */

/** One file in deb822 style that has the `deb-src` twin of every Debian source among `files`, and nothing else. */
export function sourcePackageSources(files: readonly { readonly name: string; readonly text: string }[]): string {
  const stanzas = files.flatMap(({ name, text }) => (name.endsWith('.sources') ? deb822(text) : oneLine(text)))
  if (stanzas.length === 0) throw new Error('apt on this machine has no Debian source to take source packages from')
  return stanzas.join('\n\n').concat('\n')
}

const DEBIAN = /\/debian(-security)?\/?(\s|$)/m

function deb822(text: string): string[] {
  return text
    .split(/\n\s*\n/)
    .map((stanza) => stanza.trim().replace(/^#.*\n?/gm, ''))
    .filter(
      (stanza) => /^Types:.*\bdeb\b/m.test(stanza) && DEBIAN.test(/^URIs:.*$/m.exec(stanza)?.[0] ?? '') && !/^Enabled:\s*no/im.test(stanza),
    )
    .map((stanza) => stanza.replace(/^Types:.*$/m, 'Types: deb-src'))
}

/** `deb [options] URI suite component...` */
function oneLine(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [, options = '', uri = '', suite = '', components = ''] = /^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line.trim()) ?? []
    if (!DEBIAN.test(uri)) return []
    const signed = /signed-by=(\S+)/.exec(options)?.[1]
    const fields = ['Types: deb-src', `URIs: ${uri}`, `Suites: ${suite}`, `Components: ${components}`]
    return [[...fields, ...(signed === undefined ? [] : [`Signed-By: ${signed}`])].join('\n')]
  })
}
