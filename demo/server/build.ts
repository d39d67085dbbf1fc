/** Builds the demo's server before and after its fix, both in one place, so that nothing but the fix differs. */
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { clone, workshop } from '../../tools/places.ts'
import { mustRun } from '../../tools/run.ts'
import type { Builds } from '../subject.ts'
import type { Target } from '../target.ts'

const SOURCES = join(clone, 'demo/server')
/** What a program needs to be compiled with to be hotpatched; -g is for people. */
const FLAGS = ['-O2', '-g', '-ffunction-sections', '-fdata-sections', '-Wall', '-Wextra']

export async function buildServer(target: Target, place = join(workshop, 'demo', target.name)): Promise<Builds> {
  rmSync(place, { recursive: true, force: true })
  const before = await buildTree(target, place, 'before')
  const after = await buildTree(target, place, 'after')
  return { place, before, after, base: join(place, `server${target.programSuffix}`) }
}

/** The folder of the tree's object files. The program of `before` is linked, too. */
async function buildTree(target: Target, place: string, version: 'before' | 'after'): Promise<string> {
  const [sources, objects] = [join(place, 'source'), join(place, version)]
  rmSync(sources, { recursive: true, force: true })
  for (const folder of ['common', version]) cpSync(join(SOURCES, folder), sources, { recursive: true })
  mkdirSync(objects, { recursive: true })
  const other = target.name === 'elf' ? 'platform_windows.c' : 'platform_linux.c'
  const files = readdirSync(sources).filter((name) => name.endsWith('.c') && name !== other)
  const made = files.map((name) => join(objects, name.replace(/c$/, 'o')))
  for (const [index, file] of files.entries()) {
    const flags = [...FLAGS, ...target.compilerFlags, `-ffile-prefix-map=${sources}=.`]
    await mustRun(target.compiler, [...flags, '-c', join(sources, file), '-o', made[index] ?? ''])
  }
  if (version === 'before')
    await mustRun(target.compiler, [...made, '-o', join(place, `server${target.programSuffix}`), ...target.linkFlags])
  return objects
}
