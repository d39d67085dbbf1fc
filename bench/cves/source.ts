/** Debian source packages, fetched with a private apt state: nothing on the system changes, no lock is taken. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { debianSources, machineSources } from '../../tools/apt-sources.ts'
import { home } from './places.ts'
import { recipeOf } from './recipes.ts'
import { shell } from './shell.ts'

/** The package's .dsc file; downloaded when it is not there. */
export function fetchSource(name: string): string {
  const folder = join(home(), 'downloads')
  mkdirSync(folder, { recursive: true })
  const { version } = recipeOf(name)
  const present = descriptionIn(folder, name, version)
  if (present !== undefined) return present
  const apt = privateApt()
  const get = (which: string) => shell(`apt-get -q -y --only-source --download-only source '${which}'`, { cwd: folder, env: apt })
  try {
    get(`${name}=${version}`)
  } catch {
    process.stderr.write(`cves: ${name} ${version} is not offered any more: taking the newest, whose series normally still has the patch\n`)
    get(name)
  }
  const fetched = descriptionIn(folder, name, version)
  if (fetched === undefined) throw new Error(`apt-get source ${name} brought no .dsc file`)
  return fetched
}

function descriptionIn(folder: string, name: string, version: string): string | undefined {
  const all = readdirSync(folder).filter((file) => file.startsWith(`${name}_`) && file.endsWith('.dsc'))
  // File names leave the epoch out.
  const wanted = all.find((file) => file === `${name}_${version.replace(/^\d+:/, '')}.dsc`) ?? all[0]
  return wanted === undefined ? undefined : join(folder, wanted)
}

/** Unpacks a source package without its patches. */
export function unpackSource(name: string, tree: string): void {
  const description = fetchSource(name)
  rmSync(tree, { recursive: true, force: true })
  mkdirSync(dirname(tree), { recursive: true })
  shell(`dpkg-source --no-check -q -x --skip-patches '${description}' '${tree}' 2>&1`, { cwd: dirname(tree) })
  rmSync(join(tree, '.pc'), { recursive: true, force: true })
  const { unpack } = recipeOf(name)
  if (unpack !== undefined) shell(unpack, { cwd: tree })
}

/** The environment in which apt-get works on a state of its own, which knows the sources of the machine's own Debian. */
function privateApt(): Record<string, string> {
  const state = join(home(), 'apt')
  const configuration = join(state, 'apt.conf')
  const env = { APT_CONFIG: configuration }
  const lists = join(state, 'lists')
  if (existsSync(configuration) && readdirSync(lists).some((file) => file.includes('Sources'))) return env
  for (const folder of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(state, folder), { recursive: true })
  writeFileSync(join(state, 'debian.sources'), debianSources(machineSources(), 'deb-src'))
  writeFileSync(
    configuration,
    [
      `Dir::Etc::sourcelist "${join(state, 'debian.sources')}";`,
      'Dir::Etc::sourceparts "-";',
      `Dir::State::lists "${lists}";`,
      `Dir::Cache "${join(state, 'cache')}";`,
      'APT::Get::List-Cleanup "0";',
      'APT::Sandbox::User "root";',
      '',
    ].join('\n'),
  )
  shell('apt-get -q -y update', { cwd: state, env })
  return env
}
