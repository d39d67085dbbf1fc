/** Builds the server of migration/ and the patch whose callback moves over what it knows. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'
import { kept, made } from '../brought.ts'
import type { Flavour } from './flavours.ts'

export const MIGRATION_SOURCES = fileURLToPath(new URL('migration/', import.meta.url))

export interface Migration {
  readonly folder: string
  readonly server: string
  readonly patch: Uint8Array
}

export function buildMigration({ compiler, flags }: Flavour): Migration {
  const folder = made('migration', { compiler, flags }, (into) => compile({ compiler, flags }, into))
  const server = join(folder, 'server')
  const patch = kept(folder, 'lock-out-1.so', () => {
    const [before, after] = [join(folder, 'before'), join(folder, 'after')]
    const built = buildPatch({ before, after, base: server, sequence: 1, id: 'lock-out', description: '', cves: [] })
    if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
    return built.image
  })
  return { folder, server, patch }
}

function compile({ compiler, flags }: Flavour, folder: string): void {
  const one = (source: string, out: string) =>
    execFileSync(compiler, ['-O2', '-g', ...flags, '-c', join(MIGRATION_SOURCES, source), '-o', join(folder, out)])
  for (const side of ['before', 'after']) {
    mkdirSync(join(folder, side))
    one(`${side}/sessions.c`, `${side}/sessions.o`)
  }
  one('server.c', 'server.o')
  const objects = ['server.o', 'before/sessions.o'].map((name) => join(folder, name))
  execFileSync(compiler, [...flags, '-pthread', ...objects, '-Wl,--build-id=sha1', '-o', join(folder, 'server')])
}
