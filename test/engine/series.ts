/** Builds the server of series/ and its three cumulative patches. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'
import { kept, made } from '../brought.ts'
import type { Flavour } from './flavours.ts'
import { type Running, runCounting } from './target.ts'

const SOURCES = fileURLToPath(new URL('series/', import.meta.url))

export interface Series {
  readonly folder: string
  readonly server: string
  /** The patch image from the program to version `sequence` of it. */
  patch(sequence: number, id?: string): Uint8Array
}

const objectsOf = (folder: string, version: number) => join(folder, `v${version}`)

export function buildSeries({ compiler, flags }: Flavour): Series {
  const folder = made('series', { compiler, flags }, (into) => compile({ compiler, flags }, into))
  const server = join(folder, 'server')
  const build = (sequence: number, id: string): Uint8Array => {
    const [before, after] = [objectsOf(folder, 0), objectsOf(folder, sequence)]
    const built = buildPatch({ before, after, base: server, sequence, id, description: '', cves: [] })
    if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
    return built.image
  }
  return {
    folder,
    server,
    patch: (sequence, id = `fix-${sequence}`) => kept(folder, `${id}-${sequence}.so`, () => build(sequence, id)),
  }
}

function compile({ compiler, flags }: Flavour, folder: string): void {
  const objects = (version: number) => objectsOf(folder, version)
  for (const version of [0, 1, 2, 3]) {
    mkdirSync(objects(version))
    for (const source of ['handlers', 'server']) {
      const out = join(objects(version), `${source}.o`)
      execFileSync(
        compiler,
        ['-O2', '-g', '-ffunction-sections', '-fdata-sections', ...flags, `-DVERSION=${version}`, '-c', `${source}.c`, '-o', out],
        {
          cwd: SOURCES,
        },
      )
    }
  }
  const linked = ['handlers', 'server'].map((name) => join(objects(0), `${name}.o`))
  execFileSync(compiler, [...flags, '-pthread', ...linked, '-Wl,--build-id=sha1', '-o', join(folder, 'server')])
}

const FIELDS = ['pid', 'running', 'bad', 'ticks', 'version0', 'version1', 'version2', 'version3'] as const
export type SeriesServer = Running<(typeof FIELDS)[number]>

export const runSeries = (series: Series, threads: number, load?: readonly string[]): Promise<SeriesServer> =>
  runCounting(series, threads, FIELDS, load)
