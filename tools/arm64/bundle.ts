/**
 * Programs for the machine, each as one JavaScript file with all that it imports: where the processor is emulated, finding and linking the modules one by one takes longer than many a test.
 */
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { clone } from '../places.ts'

/** What V8 has to read of a file is what most of a short program's time is; names stay, for what failed tells where. */
const SHORT = { minifyWhitespace: true, minifySyntax: true, lineLimit: 160 } as const

/** Not joined: koffi looks for its native half beside itself, and the runner must be the same one for the tests and for what runs them. */
const APART = ['koffi', 'vitest']

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
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      external: APART,
      alias: { '@vitest/runner': 'vitest' },
      plugins: [whereItWas(name)],
      logLevel: 'silent',
      ...SHORT,
    })
}

/** In each module that has gone into `bundled` its own place is still that in the clone: scripts start others, and themselves, by it. */
function whereItWas(bundled: string): Plugin {
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
        const text = readFileSync(path, 'utf8')
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
    bundle: true,
    format,
    platform: 'node',
    target: 'node20',
    logLevel: 'silent',
    plugins,
    ...SHORT,
  })
}

const empty = (filter: RegExp): Plugin => ({
  name: 'left out',
  setup: (compiler) => compiler.onLoad({ filter }, () => ({ contents: '' })),
})
