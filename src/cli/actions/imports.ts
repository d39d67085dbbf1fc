/** What a patch image takes from other modules, in words. */

interface OwnImport {
  readonly name: string
  readonly library: string | undefined
  readonly version: string | undefined
}

export function ownImportLines(imports: readonly OwnImport[]): string[] {
  if (imports.length === 0) return []
  const words = imports.map(({ name, library, version }) => `${name}${version ? `@${version}` : ''}${library ? ` of ${library}` : ''}`)
  return [`  imports by itself: ${words.join(', ')}`]
}
