import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readPe } from '../../src/binary/pe/reader.ts'
import { pageAligned } from '../../tools/arm64/page-aligned.ts'

const readobj = ['llvm-readobj-19', 'llvm-readobj-14', 'llvm-readobj'].find((tool) => spawnSync(tool, ['--version']).status === 0)
const FIXTURES = new URL('../../src/binary/pe/fixtures/', import.meta.url)

test.each(['lld19-msvc.dll', 'lld19-mingw.dll', 'ld-gcc12.dll'])('%s with its sections at pages of the file is the same image', (name) => {
  const before = readFileSync(new URL(name, FIXTURES))
  const after = pageAligned(before)
  const [old, made] = [readPe(before), readPe(after)]
  for (const { fileOffset } of made.sections) expect(fileOffset % 0x1000).toBe(0)
  expect(made.sections.map(({ rva, size, characteristics }) => [rva, size, characteristics])).toEqual(
    old.sections.map(({ rva, size, characteristics }) => [rva, size, characteristics]),
  )
  for (const { rva, size } of old.sections) expect(Buffer.from(made.read(rva, size)).equals(old.read(rva, size))).toBe(true)
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-pages-'))
  try {
    const file = join(folder, name)
    writeFileSync(file, after)
    const told = (path: string) =>
      spawnSync(readobj ?? '', ['--coff-imports', '--coff-exports', '--coff-basereloc', path], { encoding: 'utf8' })
    const [theirs, ours] = [told(new URL(name, FIXTURES).pathname), told(file)]
    expect(ours.status).toBe(0)
    const withoutPath = (text: string) => text.replace(/^File: .*$/m, '')
    expect(withoutPath(ours.stdout)).toBe(withoutPath(theirs.stdout))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
