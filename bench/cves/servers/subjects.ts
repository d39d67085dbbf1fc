/** Servers in which a client can tell whether they are fixed. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, Target, TargetName } from '../../../demo/target.ts'
import { askOnce, Connection, floodIsCut } from './client.ts'

export interface ServerSubject {
  readonly title: string
  readonly cve: string
  /** Of the corpus. */
  readonly entry: string
  readonly targets: readonly TargetName[]
  /** The base image; a regular expression for the names of the kept ones. */
  readonly image: RegExp
  /** `place` is an empty folder, `images` that of the kept ones. */
  start(target: Target, port: number, place: string, images: string): Promise<Server>
  /** Whether the hole is there. */
  isVulnerable(port: number): Promise<boolean>
  /** What is asked on the connection that is kept, and what is answered each time. */
  readonly kept: { readonly greeting?: string; readonly question: string; readonly answer: RegExp }
  /** It is several processes that all map the base image. */
  readonly processes?: number
}

const configuration = (name: string, values: Readonly<Record<string, string | number>>): string =>
  readFileSync(new URL(name, import.meta.url), 'utf8').replaceAll(/@(\w+)@/g, (_, key: string) => String(values[key]))

const HEAD = /^HTTP\/1\.[01] (\d+)[\s\S]*?\r\n\r\n/
const isOk = async (port: number, request: string): Promise<boolean> => HEAD.exec(await askOnce(port, request, HEAD))?.[1] === '200'

const httpKept = (method: 'GET' | 'POST', path: string): ServerSubject['kept'] => ({
  question: `${method} ${path} HTTP/1.1\r\nHost: kept\r\nContent-Length: 0\r\n\r\n`,
  answer: HEAD,
})

async function startHaproxy(target: Target, port: number, place: string, images: string): Promise<Server> {
  const file = join(place, 'haproxy.cfg')
  writeFileSync(file, configuration('haproxy.cfg', { PORT: port }))
  return target.start(join(images, 'haproxy'), ['-db', '-f', file])
}

const resp = (...words: readonly string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`

const PASSWORD = 'hotpatch'
const startRedis = (target: Target, port: number, place: string, images: string, more: readonly string[] = []): Promise<Server> =>
  target.start(join(images, 'redis-server'), ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', place, ...more])

async function startNginx(target: Target, port: number, place: string, images: string): Promise<Server> {
  mkdirSync(join(place, 'logs'))
  const file = join(place, 'nginx.conf')
  writeFileSync(file, configuration('nginx.conf.in', { PREFIX: place, PORT: port }))
  return target.start(join(images, 'nginx'), ['-p', place, '-c', file])
}

/** The sample's own search path leads to where it was built, so the kept libraries stand beside it under the names that the loader looks for. */
async function startHttpServer(target: Target, port: number, place: string, images: string): Promise<Server> {
  const program = `http-server${target.programSuffix}`
  const libraries = readdirSync(images).filter((name) => /\.(so|dll)$/.test(name))
  copyFileSync(join(images, program), join(place, program))
  for (const name of libraries) {
    copyFileSync(join(images, name), join(place, name))
    if (name.endsWith('.so')) symlinkSync(name, join(place, `${name}.7`))
  }
  const args = ['-p', `${port}`, target.path(place)]
  if (target.name === 'pe') return target.start(join(place, program), args)
  return target.start('/usr/bin/env', [`LD_LIBRARY_PATH=${place}`, join(place, program), ...args])
}

export const subjects: readonly ServerSubject[] = [
  {
    title: 'haproxy 2.6.12',
    cve: 'CVE-2023-45539',
    entry: 'haproxy--BUG-MINOR-h1-do-not-accept-as-part-of-the-URI-compon',
    targets: ['elf'],
    image: /^haproxy$/,
    start: startHaproxy,
    // The fragment ends in .png, the path does not: the static rule must not take it.
    isVulnerable: (port) => isOk(port, 'GET /admin#x.png HTTP/1.1\r\nHost: a\r\n\r\n'),
    kept: httpKept('GET', '/kept'),
  },
  {
    title: 'haproxy 2.6.12',
    cve: 'CVE-2023-40225',
    entry: 'haproxy--BUG-MAJOR-http-reject-any-empty-content-length-heade',
    targets: ['elf'],
    image: /^haproxy$/,
    start: startHaproxy,
    isVulnerable: (port) => isOk(port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n'),
    kept: httpKept('GET', '/kept'),
  },
  {
    title: 'redis 7.0.15',
    cve: 'CVE-2025-67733',
    entry: 'redis--CVE-2025-67733',
    targets: ['elf'],
    image: /^redis-server$/,
    start: startRedis,
    // The answer to one command must not hold a line that looks like another answer.
    isVulnerable: async (port) =>
      /\r\n\+INJECTED\r\n/.test(await askOnce(port, resp('FUNCTION', 'LIST', 'bad\r\n+INJECTED\r\n'), /INJECTED.*\r\n/)),
    kept: { question: resp('PING'), answer: /^\+PONG\r\n$/ },
  },
  {
    title: 'redis 7.0.15',
    cve: 'CVE-2025-21605',
    entry: 'redis--0001-Limiting-output-buffer-for-unauthenticated-client-CV',
    targets: ['elf'],
    image: /^redis-server$/,
    start: (target, port, place, images) => startRedis(target, port, place, images, ['--requirepass', PASSWORD]),
    // 9 MB of commands from someone who has not authenticated and reads no answer.
    isVulnerable: async (port) => !(await floodIsCut(port, Buffer.from('SET x 5\r\n'.repeat(10_000)), 100)),
    kept: { greeting: resp('AUTH', PASSWORD), question: resp('PING'), answer: /^\+(OK|PONG)\r\n$/ },
  },
  {
    title: 'nginx 1.22.1, master and worker',
    cve: 'CVE-2026-42945',
    entry: 'nginx--CVE-2026-42945',
    targets: ['elf'],
    image: /^nginx$/,
    start: startNginx,
    isVulnerable: async (port) => {
      const answer = await askOnce(port, 'GET /r/a%20b+c&d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', /\r\n\r\n[\s\S]*\n$/)
      const body = answer.split('\r\n\r\n')[1]?.trim()
      if (body !== '/r/a b+c&d' && !body?.startsWith('/r/a%20b')) throw new Error(`nginx answers ${JSON.stringify(answer)}`)
      return body !== '/r/a b+c&d'
    },
    kept: httpKept('GET', '/r/kept'),
    processes: 2,
  },
  {
    title: 'http-server of libevent 2.1.12',
    cve: 'CVE-2026-63382',
    entry: 'libevent--CVE-2026-63382',
    targets: ['elf', 'pe'],
    image: /^libevent_extra(-[\d.]+)?\.(so|dll)$/,
    start: startHttpServer,
    // Two lengths that contradict each other: whoever stands before the server may see another request than it does.
    isVulnerable: (port) =>
      isOk(port, 'POST /dump HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'),
    kept: httpKept('POST', '/dump'),
  },
]

export async function keep(port: number, { greeting, answer }: ServerSubject['kept']): Promise<Connection> {
  const connection = await Connection.open(port)
  if (greeting !== undefined) await connection.ask(greeting, answer)
  return connection
}
