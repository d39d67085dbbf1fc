/** Images with a TLS directory before a tool that others made: patches that bring thread-local variables, and the DLLs by which a process makes room for them. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { buildPatch } from '../../src/builder/build.ts'
import { threadLocalDll } from '../../src/engine/thread-local/module-pe.ts'

const FIXTURES = join(import.meta.dirname, '../../src/builder/fixtures')
const readobj = ['llvm-readobj-19', 'llvm-readobj-14', 'llvm-readobj'].find((tool) => spawnSync(tool, ['--version']).status === 0)
const work = mkdtempSync(join(tmpdir(), 'hotpatch-pe-threads-'))
afterAll(() => rmSync(work, { recursive: true }))

function printed(image: Uint8Array): string {
  const file = join(work, 'image.dll')
  writeFileSync(file, image)
  const { status, stdout, stderr } = spawnSync(readobj as string, ['--all', '--coff-tls-directory', '--coff-basereloc', file], {
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).not.toMatch(/warning|error|invalid/i)
  return stdout
}

function patchOf(folder: string): Uint8Array {
  const [before, after, base] = ['before', 'fresh', 'lld.dll'].map((name) => join(FIXTURES, folder, name)) as [string, string, string]
  const built = buildPatch({ before, after, base, id: 'counter', sequence: 1, description: '', cves: [] })
  if (built.outcome !== 'built') throw new Error('nothing was built')
  return built.image
}

const field = (text: string, name: string): number => Number(new RegExp(`${name}: (0x[0-9A-F]+)`).exec(text)?.[1])

describe.skipIf(readobj === undefined)('is read by llvm-readobj without complaint', () => {
  it.each([
    { folder: 'clang-tls-mingw32', size: 16, alignment: 4 },
    { folder: 'clang-tls-msvc', size: 16, alignment: 4 },
    { folder: 'clang-tls-arm64', size: 20, alignment: 8 },
  ])('a patch image that brings thread-local variables ($folder)', ({ folder, size, alignment }) => {
    const text = printed(patchOf(folder))
    expect(text).toContain(`IMAGE_SCN_ALIGN_${alignment}BYTES`)
    expect(text.match(/Type: DIR64/g)?.length).toBe(3)
    const start = field(text, 'StartAddressOfRawData')
    expect([field(text, 'EndAddressOfRawData') - start, field(text, 'AddressOfIndex') - start]).toEqual([size, size])
    const section = /Name: \.tls [\s\S]*?VirtualAddress: (0x[0-9A-F]+)/.exec(text)?.[1]
    expect(start - field(text, 'ImageBase')).toBe(Number(section))
  })

  it.each([
    ['x64', 'COFF-x86-64'],
    ['arm64', 'COFF-ARM64'],
  ] as const)('a DLL that makes room for them (%s)', (machine, format) => {
    const { bytes, start, index } = threadLocalDll(machine, { content: Uint8Array.of(1, 2, 3, 4, 5), alignment: 8 })
    const text = printed(bytes)
    expect(text).toContain(`Format: ${format}\n`)
    expect(field(text, 'AddressOfEntryPoint')).toBe(0)
    expect(text).not.toContain('Import {')
    const base = field(text, 'ImageBase')
    expect(text.slice(text.indexOf('TLSDirectory {'))).toMatch(
      new RegExp(
        [
          `StartAddressOfRawData: 0x${(base + start).toString(16)}`,
          `EndAddressOfRawData: 0x${(base + start + 5).toString(16)}`,
          `AddressOfIndex: 0x${(base + index).toString(16)}`,
          'AddressOfCallBacks: 0x0',
          'SizeOfZeroFill: 0x0',
          'Characteristics \\[ \\(0x400000\\)',
        ].join('\\s+'),
        'i',
      ),
    )
    expect(text.match(/Type: DIR64/g)?.length).toBe(3)
  })
})
