import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { linkedImages } from './links.ts'

const root = mkdtempSync(join(tmpdir(), 'links-'))
afterAll(() => rmSync(root, { recursive: true }))
for (const file of ['server', 'tool.exe', 'liba.so', 'sub/libb.a', 'all.o', 'a.o', 'b.o', 'c.o', 'shared/libc.so', 'shared/libc.a']) {
  mkdirSync(dirname(join(root, file)), { recursive: true })
  writeFileSync(join(root, file), '')
}
const images = (...calls: string[]) =>
  linkedImages(
    calls.map((text) => ({ folder: root, args: text.split(' ') })),
    [root],
  ).map(({ path, files }) => [path.slice(root.length + 1), ...files.map((file) => file.slice(root.length + 1))])

test('objects and archives of the build, each once, and nothing of the system', () => {
  expect(images('-o server a.o b.o a.o sub/libb.a /usr/lib/crt1.o liba.so -lm')).toEqual([['server', 'a.o', 'b.o', 'sub/libb.a']])
})

test('archives by -l, unless a shared library comes first', () => {
  expect(images('-o server a.o -Lsub -lb -Lshared -lc')).toEqual([['server', 'a.o', 'sub/libb.a']])
  expect(images('-o server a.o -Lshared -l:libc.a')).toEqual([['server', 'a.o', 'shared/libc.a']])
})

test('objects of an object that was linked from others', () => {
  expect(images('-r -o all.o b.o c.o', '-o server a.o all.o')).toEqual([['server', 'a.o', 'b.o', 'c.o']])
})

test('a program for Windows gets its ending from the compiler', () => {
  expect(images('-o tool a.o')).toEqual([['tool.exe', 'a.o']])
})

test('what is not there any more, as a test of a configure script, is no image', () => {
  expect(images('-o conftest a.o')).toEqual([])
})
