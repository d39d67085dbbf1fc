/** Packages of Debian, for ARM64 as a rule, fetched with an apt state of their own: nothing on the system changes, no lock is taken. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { debianSources, machineSources, suiteSources } from '../apt-sources.ts'
import { mustRun } from '../run.ts'

export interface DebianRequest {
  /** For apt alone. */
  readonly folder: string
  /** Names that end in `*` stand for what that package depends on. */
  readonly names: readonly string[]
  /** Where they are unpacked. */
  readonly root: string
  /** Another release than this machine's own. */
  readonly suite?: string
  /** Default: arm64. */
  readonly architecture?: 'amd64' | 'arm64'
}

/** Fetches packages and unpacks them. Throws what apt says, and where the machine's sources name no mirror of Debian. */
export async function unpackDebian({ folder, names, root, suite, architecture = 'arm64' }: DebianRequest): Promise<void> {
  const files = machineSources()
  const sources = suite === undefined ? debianSources(files, 'deb') : suiteSources(files, suite)
  const env = await privateApt(folder, sources, architecture)
  const wanted = (await Promise.all(names.map((name) => (name.endsWith('*') ? dependencyOf(name.slice(0, -1), env) : [name])))).flat()
  const downloads = join(folder, 'downloads')
  mkdirSync(downloads, { recursive: true })
  await mustRun('apt-get', ['-q', '-q', 'download', ...wanted], { cwd: downloads, env })
  mkdirSync(root, { recursive: true })
  for (const file of readdirSync(downloads)) await mustRun('dpkg-deb', ['--extract', join(downloads, file), root])
}

async function privateApt(folder: string, sources: string, architecture: string): Promise<Record<string, string>> {
  for (const name of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'status'), '')
  writeFileSync(join(folder, 'debian.sources'), sources)
  writeFileSync(
    join(folder, 'apt.conf'),
    [
      `APT::Architecture "${architecture}";`,
      `APT::Architectures { "${architecture}"; };`,
      `Dir::Etc::sourcelist "${join(folder, 'debian.sources')}";`,
      'Dir::Etc::sourceparts "-";',
      `Dir::State::lists "${join(folder, 'lists')}";`,
      `Dir::State::status "${join(folder, 'status')}";`,
      `Dir::Cache "${join(folder, 'cache')}";`,
      'APT::Sandbox::User "root";',
      'Acquire::Languages "none";',
      '',
    ].join('\n'),
  )
  const env = { APT_CONFIG: join(folder, 'apt.conf') }
  await mustRun('apt-get', ['-q', '-q', 'update'], { env })
  return env
}

async function dependencyOf(name: string, env: Record<string, string>): Promise<string[]> {
  const { stdout } = await mustRun('apt-cache', ['depends', '--important', name], { env })
  const found = [...stdout.matchAll(/^ +Depends: (\S+)$/gm)].map((match) => match[1] as string)
  if (found.length === 0) throw new Error(`apt knows nothing that ${name} depends on`)
  return found
}
