/** The table of commands. Each is loaded only when it is asked for: start-up time is part of every command's time. */
import { buildApplication, buildRouteMap, run, type StricliProcess, text_en } from '@stricli/core'
import { Exit, HotpatchError } from '../errors.ts'
import { VERSION } from '../version.ts'
import { errorDocument } from './answer.ts'
import { applyCommand } from './commands/apply.ts'
import { buildCommand as build } from './commands/build.ts'
import { checkCommand } from './commands/check.ts'
import { diffCommand } from './commands/diff.ts'
import { inspectCommand } from './commands/inspect.ts'
import { keysRoutes } from './commands/keys.ts'
import { rollbackCommand } from './commands/rollback.ts'
import { signCommand } from './commands/sign.ts'
import { statusCommand } from './commands/status.ts'
import { verifyCommand } from './commands/verify.ts'
import type { Context } from './context.ts'

const routes = buildRouteMap<string, Context>({
  routes: {
    diff: diffCommand,
    build,
    inspect: inspectCommand,
    check: checkCommand,
    apply: applyCommand,
    status: statusCommand,
    verify: verifyCommand,
    rollback: rollbackCommand,
    sign: signCommand,
    keys: keysRoutes,
  },
  docs: {
    brief: 'Puts security fixes into running programs, with no restart.',
    fullDescription: [
      'Puts security fixes into running programs, with no restart.',
      '',
      'From two builds of a program (before and after the fix) hotpatch makes a patch image, loads it into a live process',
      'beside the base image, and switches the changed functions. Everything can be undone at once.',
      '',
      'Exit codes: 0 done, already done or nothing to do; 1 a defect of hotpatch; 2 usage; 3 refused; 4 busy;',
      '5 no permission; 6 bad input. docs/errors.md explains every error code.',
    ].join('\n'),
  },
})

const app = buildApplication<Context>(routes, {
  name: 'hotpatch',
  versionInfo: { currentVersion: VERSION },
  scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
  documentation: { caseStyle: 'convert-camel-to-kebab', useAliasInUsageLine: false },
  localization: { loadText: () => text_en },
})

/** stricli's own negative exit codes: the command line was not understood (-5, -4), or it failed itself (-1 to -3). */
const USAGE_CODES = new Set([-5, -4])

/** Runs one command line. The exit code is left in `process.exitCode`. */
export async function runHotpatch(args: readonly string[], process: StricliProcess): Promise<void> {
  const complaints: string[] = []
  // What is behind `--` is a build command's.
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
  const json = own.includes('--json')
  const stderr = json ? { ...process.stderr, write: (text: string) => void complaints.push(text) } : process.stderr
  const context: { process: StricliProcess } = { process: { stdout: process.stdout, stderr, env: process.env ?? {} } }
  await run(app, args, context)
  const code = Number(context.process.exitCode ?? 0)
  if (USAGE_CODES.has(code) && json) complain(args, complaints.join('').trim(), process)
  else if (complaints.length > 0) process.stderr.write(complaints.join(''))
  process.exitCode = code >= 0 ? code : USAGE_CODES.has(code) ? Exit.usage : Exit.defect
}

/** A script that asked for JSON gets its usage errors as JSON, too. */
function complain(args: readonly string[], detail: string, process: StricliProcess): void {
  const command = args.find((arg) => !arg.startsWith('-')) ?? ''
  process.stdout.write(errorDocument(command, new HotpatchError('USAGE', detail)))
}
