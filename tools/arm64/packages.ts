/** Packages of Debian for ARM64, fetched with an apt state of their own: nothing on the system changes, no lock is taken. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { debianSources, machineSources } from '../apt-sources.ts'
import { mustRun } from '../run.ts'

/** Fetches packages and unpacks them into `root`. `folder` is for apt alone. Names that end in `*` stand for what that package depends on. */
export async function unpackDebian(folder: string, names: readonly string[], root: string): Promise<void> {
  const env = await privateApt(folder)
  const wanted = (await Promise.all(names.map((name) => (name.endsWith('*') ? dependencyOf(name.slice(0, -1), env) : [name])))).flat()
  const downloads = join(folder, 'downloads')
  mkdirSync(downloads, { recursive: true })
  await mustRun('apt-get', ['-q', '-q', 'download', ...wanted], { cwd: downloads, env })
  mkdirSync(root, { recursive: true })
  for (const file of readdirSync(downloads)) await mustRun('dpkg-deb', ['--extract', join(downloads, file), root])
}

async function privateApt(folder: string): Promise<Record<string, string>> {
  for (const name of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'status'), '')
  writeFileSync(join(folder, 'debian.sources'), debianSources(machineSources(), 'deb'))
  writeFileSync(
    join(folder, 'apt.conf'),
    [
      'APT::Architecture "arm64";',
      'APT::Architectures { "arm64"; };',
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
