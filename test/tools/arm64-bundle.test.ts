import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bundle, bundleTogether } from '../../tools/arm64/bundle.ts'
import { clone } from '../../tools/places.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpatch-bundle-'))
  symlinkSync(join(clone, 'node_modules'), join(folder, 'node_modules'))
  // src/version.ts reads the version from the file above its own folder, not above that of the program.
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "version": "12.34.56" }')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function version(): string[] {
  const { stdout, stderr } = spawnSync(process.execPath, [join(folder, 'src/cli/main.js'), '--version'], { encoding: 'utf8' })
  return [stdout.trim(), stderr]
}

const files = (): string[] => (readdirSync(join(folder, 'src'), { recursive: true }) as string[]).filter((name) => name.endsWith('.js'))

test('a program is one file, in which each module is still where it was', async () => {
  await bundle(['src/cli/main'], folder)
  expect(files()).toEqual(['cli/main.js'])
  expect(version()).toEqual(['12.34.56', ''])
})

test('what programs of one process share stands once, and is still where it was', async () => {
  await bundleTogether('src', ['cli/main', 'builder/tables'], folder)
  const [shared, ...more] = files().filter((name) => readFileSync(join(folder, 'src', name), 'utf8').includes('../package.json'))
  expect([shared, more]).toEqual([expect.stringMatching(/^shared\//), []])
  expect(files()).toEqual(expect.arrayContaining(['cli/main.js', 'builder/tables.js']))
  expect(version()).toEqual(['12.34.56', ''])
})

test('no test file takes a hook from what it shares with others: one process would have it for the first of them alone', () => {
  const names = (readdirSync(join(clone, 'test'), { recursive: true }) as string[]).filter((name) => /(?<!\.test)\.ts$/.test(name))
  const hooked = names.filter((name) => /^(before|after)(All|Each)\(/m.test(readFileSync(join(clone, 'test', name), 'utf8')))
  expect(names).toContain('process/targets.ts')
  expect(hooked).toEqual([])
})
