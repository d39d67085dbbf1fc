/**
 * Programs for the machine, each as one JavaScript file with all that it imports, or as few: where the processor is emulated, finding and linking the modules one by one takes longer than many a test.
 */
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { clone } from '../places.ts'

/** What V8 has to read of a file is what most of a short program's time is; names stay, for what failed tells where. */
const SHORT = { minifyWhitespace: true, minifySyntax: true, lineLimit: 160 } as const
const FOR_NODE = { bundle: true, platform: 'node', target: 'node20', logLevel: 'silent', ...SHORT } as const

/** zod's words in other languages are two thirds of it. */
export const OTHER_LANGUAGES = /locales[/\\]index\.cjs$/

/** Not joined: koffi looks for its native half beside itself, and the runner must be the same one for the tests and for what runs them. */
const APART = ['koffi', 'vitest']
const AS_MODULES = { format: 'esm', external: APART, alias: { '@vitest/runner': 'vitest' }, ...FOR_NODE } as const

/**
 * Compiles TypeScript files of the clone into `folder`, where each has the place that it has in the clone.
 * @param names paths in the clone, without the suffix
 * @throws what the compiler says
 */
export async function bundle(names: readonly string[], folder: string): Promise<void> {
  for (const name of names)
    await build({
      entryPoints: [join(clone, `${name}.ts`)],
      outfile: join(folder, `${name}.js`),
      plugins: [whereItWas(name)],
      ...AS_MODULES,
    })
}

/**
 * The same for files that one process imports one after the other: what several of them import stands in files of its own, so that it is loaded once, and warm for the next.
 * @param among a folder of the clone
 * @param names in it, each as FOLDER/NAME without the suffix: what they share lies in one more folder there, and from each of these every other place is as far
 * @throws what the compiler says
 */
export async function bundleTogether(among: string, names: readonly string[], folder: string): Promise<void> {
  const shared = `${among}/shared`
  await build({
    entryPoints: names.map((name) => join(clone, among, `${name}.ts`)),
    outdir: folder,
    outbase: clone,
    splitting: true,
    chunkNames: `${shared}/[name]-[hash]`,
    plugins: [whereItWas(`${shared}/any`)],
    ...AS_MODULES,
  })
}

/**
 * Flags of V8 with which a snapshot is made, and so with which Node starts from it: the code of all functions is in it, not only of those that have run by then, and stays there. What a program calls once,
 * as most of what short ones call, takes longer to compile than to run.
 */
export const COMPILED_AT_ONCE = ['--no-lazy', '--no-flush-bytecode']

/**
 * Compiles the entry of a V8 startup snapshot into `folder`: one CommonJS file, in which all places are again those in the clone when the snapshot is made in the machine.
 * What cannot be in a snapshot is loaded when a program first uses it: native modules.
 * @param name its path in the clone, without the suffix
 * @throws what the compiler says
 */
export async function bundleSnapshot(name: string, folder: string): Promise<void> {
  await build({
    entryPoints: [join(clone, `${name}.ts`)],
    outfile: join(folder, `${name}.cjs`),
    format: 'cjs',
    define: { 'import.meta.dirname': '__dirname', 'import.meta.url': 'PLACE' },
    banner: { js: "const PLACE = require('node:url').pathToFileURL(__filename).href" },
    plugins: [whereItWas(name, zodAtOnce), koffiLater(name), empty(OTHER_LANGUAGES)],
    ...FOR_NODE,
  })
}

/** src/patch/manifest.ts asks for zod when it first needs it. */
const zodAtOnce = (text: string): string => text.replaceAll("createRequire(import.meta.url)('zod')", "require('zod')")

/** Its native half, loaded without the modules that look for it: in Windows' Node that takes longer than to load it. One command is run as it is built. */
const NATIVE_HALF = `
import { join } from 'node:path'
let koffi
function load() {
  const system = [process.platform, process.arch]
  const module = { exports: {} }
  process.dlopen(module, join(import.meta.dirname, UP, 'node_modules/@koromix', 'koffi-' + system.join('-'), system.join('_'), 'koffi.node'))
  return module.exports
}
export default new Proxy({}, { get: (_, name) => (koffi ??= load())[name] })`

/** @param bundled where it is to be found from: in the machine packages lie beside the payload that has these files in a folder */
const koffiLater = (bundled: string): Plugin => ({
  name: 'koffi later',
  setup(compiler) {
    const up = relative(join('payload/dist', dirname(bundled)), '.')
    compiler.onResolve({ filter: /^koffi$/ }, ({ path }) => ({ path, namespace: 'later' }))
    compiler.onLoad({ filter: /./, namespace: 'later' }, () => ({ contents: NATIVE_HALF.replace('UP', JSON.stringify(up)) }))
  },
})

/** In each module that has gone into `bundled` its own place is still that in the clone: scripts start others, and themselves, by it. */
function whereItWas(bundled: string, change = (text: string): string => text): Plugin {
  return {
    name: 'where it was',
    setup(compiler) {
      compiler.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const place = relative(join(clone, dirname(bundled)), path.replace(/\.ts$/, '.js'))
        const from = (relation: string): string => `placed(import.meta.dirname, ${JSON.stringify(relation)})`
        const places = {
          url: `new URL(${JSON.stringify(place)}, import.meta.url).href`,
          filename: from(place),
          dirname: from(dirname(place)),
        }
        const text = change(readFileSync(path, 'utf8'))
        const placed = text.replaceAll(/\bimport\.meta\.(url|filename|dirname)\b/g, (_, what: keyof typeof places) => places[what])
        return { loader: 'ts', contents: placed === text ? text : `import { join as placed } from 'node:path'; ${placed}` }
      })
    },
  }
}

/** One file of what a package exports, for those that ask for it by name. @param without what is left out of it: a pattern of file names */
export async function bundlePackage(file: string, outfile: string, format: 'cjs' | 'esm', without?: RegExp): Promise<void> {
  const plugins = without === undefined ? [] : [empty(without)]
  await build({
    entryPoints: [file],
    outfile,
    format,
    plugins,
    ...FOR_NODE,
  })
}

const empty = (filter: RegExp): Plugin => ({
  name: 'left out',
  setup: (compiler) => compiler.onLoad({ filter }, () => ({ contents: '' })),
})
