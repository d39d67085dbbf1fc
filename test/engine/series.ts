/** Builds the server of series/ and its three cumulative patches. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPatch } from '../../src/builder/build.ts'
import { type Flavour, type Running, runCounting } from './target.ts'

const SOURCES = fileURLToPath(new URL('series/', import.meta.url))

export interface Series {
  readonly folder: string
  readonly server: string
  /** The patch image from the program to version `sequence` of it. */
  patch(sequence: number, id?: string): Uint8Array
}

export function buildSeries({ compiler, flags }: Flavour): Series {
  const folder = mkdtempSync(join(tmpdir(), 'hotpatch-series-'))
  const objects = (version: number) => join(folder, `v${version}`)
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
  const server = join(folder, 'server')
  execFileSync(compiler, [
    ...flags,
    '-pthread',
    join(objects(0), 'handlers.o'),
    join(objects(0), 'server.o'),
    '-Wl,--build-id=sha1',
    '-o',
    server,
  ])
  return {
    folder,
    server,
    patch(sequence, id = `fix-${sequence}`) {
      const built = buildPatch({ before: objects(0), after: objects(sequence), base: server, sequence, id, description: '', cves: [] })
      if (built.outcome !== 'built') throw new Error('the builder found nothing to patch')
      return built.image
    },
  }
}

const FIELDS = ['pid', 'running', 'bad', 'ticks', 'version0', 'version1', 'version2', 'version3'] as const
export type SeriesServer = Running<(typeof FIELDS)[number]>

export const runSeries = (series: Series, threads: number): Promise<SeriesServer> => runCounting(series, threads, FIELDS)
