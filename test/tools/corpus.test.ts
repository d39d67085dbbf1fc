import { expect, test } from 'vitest'
import { corpus, entryOf } from '../../bench/cves/corpus.ts'
import { imagesOf, recipeOf, stepOf } from '../../bench/cves/recipes.ts'
import { debianSources, suiteSources } from '../../tools/apt-sources.ts'

test('every entry has a name of its own, a recipe, and a build for each of its targets', () => {
  expect(new Set(corpus.map(({ id }) => id)).size).toBe(corpus.length)
  for (const { package: name, targets } of corpus)
    for (const target of targets) expect(stepOf(name, target, 'build'), `${name} ${target}`).toBeTypeOf('string')
})

test('the broker of the demo is known with its image and the folder of its objects', () => {
  const { package: name, cve } = entryOf('mosquitto--CVE-2023-0809')
  expect(cve).toEqual(['CVE-2023-0809'])
  expect(recipeOf(name).version).toBe('2.0.11-1.2+deb12u2')
  expect(imagesOf(name)).toContainEqual({ file: '_b/src/mosquitto$EXE', objects: '_b/src' })
})

const DEBIAN = `Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: https://mirror.example/debian-security/
Suites: bookworm-security
Components: main
`

test('source packages are asked for where the machine has its Debian packages from, and nowhere else', () => {
  const made = debianSources(
    [
      { name: 'debian.sources', text: DEBIAN },
      { name: 'node.sources', text: 'Types: deb\nURIs: https://node.example/node_20.x\nSuites: nodistro\nComponents: main\n' },
      { name: 'off.sources', text: `Enabled: no\n${DEBIAN.split('\n\n')[0]}` },
      {
        name: 'old.list',
        text: '# deb http://no.example/debian a b\ndeb [arch=amd64 signed-by=/k.gpg] http://old.example/debian bookworm main contrib\n',
      },
      { name: 'cloud.list', text: 'deb https://packages.example/apt cloud-bookworm main\n' },
    ],
    'deb-src',
  )
  expect(made.match(/^Types: .*$/gm)).toEqual(['Types: deb-src', 'Types: deb-src', 'Types: deb-src'])
  expect(made.match(/^URIs: .*$/gm)).toEqual([
    'URIs: http://mirror.example/debian',
    'URIs: https://mirror.example/debian-security/',
    'URIs: http://old.example/debian',
  ])
  expect(made).toContain('Signed-By: /k.gpg')
})

test('a machine without Debian sources is told so', () => {
  expect(() => debianSources([], 'deb')).toThrow(/no Debian source/)
})

test('packages of another release come from the same mirrors, without their security archive', () => {
  const made = suiteSources([{ name: 'debian.sources', text: DEBIAN }], 'trixie')
  expect(made.trim().split('\n')).toEqual([
    'Types: deb',
    'URIs: http://mirror.example/debian',
    'Suites: trixie',
    'Components: main',
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
  ])
  const security = DEBIAN.split('\n\n')[1] as string
  expect(() => suiteSources([{ name: 'debian.sources', text: security }], 'trixie')).toThrow(
    /no mirror of Debian to take packages of trixie from/,
  )
})
