import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundle } from '../../tools/arm64/bundle.ts'
import { clone } from '../../tools/places.ts'

test('a program is one file, in which each module is still where it was', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-bundle-'))
  try {
    await bundle(['src/cli/main'], folder)
    expect(readdirSync(folder, { recursive: true })).toEqual(['src', 'src/cli', 'src/cli/main.js'])
    symlinkSync(join(clone, 'node_modules'), join(folder, 'node_modules'))
    // src/version.ts reads the version from the file above its own folder, not above that of the program.
    writeFileSync(join(folder, 'package.json'), '{ "type": "module", "version": "12.34.56" }')
    const { stdout, stderr } = spawnSync(process.execPath, [join(folder, 'src/cli/main.js'), '--version'], { encoding: 'utf8' })
    expect([stdout.trim(), stderr]).toEqual(['12.34.56', ''])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
