/**
 * Walks of PE code at every instruction, in Wine: its process is a Linux process, so its thread can be stepped from outside. What Windows'
 * conventions leave to the instructions (epilogues, leaves) is met on the way.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { readPeFromMemory } from '../../src/binary/pe/reader.ts'
import { FrameModules } from '../../src/engine/stacks/frame-modules.ts'
import type { MappedModule, Process } from '../../src/process/contract.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'
import { ensureWine, shutdownWine, WINE64, windowsPath, wineAvailable } from '../../tools/wine.mjs'
import { stepThrough } from './stepping.ts'
import { endTargets, type Started, startApart, until } from './targets.ts'

afterAll(endTargets)

const FLAVOURS = [
  { title: 'gcc', compiler: 'x86_64-w64-mingw32-gcc', options: ['-O2'] },
  { title: 'gcc, frame pointers', compiler: 'x86_64-w64-mingw32-gcc', options: ['-O1', '-fno-omit-frame-pointer'] },
  { title: 'clang', compiler: 'clang-19', options: ['--target=x86_64-w64-mingw32', '-O2'] },
]
const source = fileURLToPath(new URL('../targets/stacks-pe.c', import.meta.url))
const wine = wineAvailable()
// Nothing takes it away where all is skipped.
const folder = wine.available ? mkdtempSync(join(tmpdir(), 'hotpatch-stacks-')) : ''
const available = ({ compiler }: { compiler: string }): boolean => spawnSync(compiler, ['--version']).status === 0

let started: Started | undefined
let target: Process | undefined
afterEach(async () => {
  target?.close()
  await started?.kill()
  started = undefined
  target = undefined
})
afterAll(async () => {
  await shutdownWine()
  rmSync(folder, { recursive: true, force: true })
})

/** The PE images of a Wine process: their headers are mapped from their files. */
function peModules(process: Process): MappedModule[] {
  return process.regions().flatMap(({ start, name }) => {
    if (!/\.(exe|dll)$/.test(name) || process.read(start, 2).join() !== '77,90') return []
    const { optionalHeader } = readPeFromMemory((rva, length) => process.read(start + BigInt(rva), length))
    const file = name.slice(name.lastIndexOf('/') + 1)
    return [{ name: file, path: name, base: start, size: optionalHeader.SizeOfImage, deleted: false, format: 'pe' as const }]
  })
}

/** The process as the backend for Windows shows it, as far as modules go. */
const asWindows = (process: Process, modules: MappedModule[]): Process =>
  new Proxy(process, {
    get(_, key) {
      if (key === 'modules') return () => modules
      const value = Reflect.get(process, key, process)
      return typeof value === 'function' ? value.bind(process) : value
    },
  })

const IMAGE_BASE = 0x1_4000_0000
const PROBE_SIZE = 0x40

function symbolRva(program: string, name: string): number {
  const lines = execFileSync('x86_64-w64-mingw32-nm', [program], { encoding: 'utf8' }).split('\n')
  const line = lines.find((candidate) => candidate.endsWith(` T ${name}`))
  return line === undefined ? Number.NaN : Number.parseInt(line, 16) - IMAGE_BASE
}

describe.skipIf(!wine.available).each(FLAVOURS.filter(available))('PE stacks at every instruction: $title', (flavour) => {
  test('prologues, epilogues, leaves, jumps at the end, large frames, the C library', async () => {
    const { env } = await ensureWine()
    const name = flavour.title.replaceAll(/\W+/g, '-')
    const [program, output] = [join(folder, `${name}.exe`), join(folder, `${name}.json`)]
    execFileSync(flavour.compiler, [...flavour.options, source, '-o', program])
    const settings = Object.entries(env).map(([key, value]) => `${key}='${value}'`)
    started = await startApart(WINE64, [program, windowsPath(output)], `env ${settings.join(' ')}`)
    await until('it said where its words are', () => existsSync(output) && readFileSync(output, 'utf8').endsWith('\n'), 60_000)
    const { go, done } = JSON.parse(readFileSync(output, 'utf8')) as { go: string; done: string }
    const process = linuxBackend.open(started.pid)
    const view = asWindows(process, peModules(process))
    target = process
    const modules = new FrameModules(view).of(view.regions())
    const { steps, calls, lost, wrong } = stepThrough(view, modules, BigInt(go), BigInt(done))
    expect(wrong).toEqual([])
    // mingw's stack probe pushes registers and says so to nobody.
    const probe = symbolRva(program, '___chkstk_ms')
    const offset = (at: string): number => Number(at.split('+')[1])
    expect(lost.filter(({ at }) => offset(at) < probe || offset(at) > probe + PROBE_SIZE)).toEqual([])
    expect(calls).toBeGreaterThan(100)
    expect(steps).toBeGreaterThan(1500)
  })
})
