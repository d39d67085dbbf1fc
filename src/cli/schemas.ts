/**
 * What every command answers with --json, as zod schemas: docs/json.md is written from them, and the end-to-end tests hold every answer to
 * them. Nothing loads them when a command runs.
 */
import { z } from 'zod'
import { REASONS } from '../builder/reasons.ts'
import { ERRORS } from '../errors.ts'

const count = z.number().int().min(0)
const text = z.string()
/** Addresses are hexadecimal strings, since JSON's numbers lose bits of 64. */
const address = z
  .string()
  .regex(/^0x[0-9a-f]+$/)
  .describe('hexadecimal')
const hex = z
  .string()
  .regex(/^[0-9a-f]*$/)
  .describe('hexadecimal digits')
const rva = count.describe('relative to the start of the image')
const bytes = count.describe('bytes')
const microseconds = z.number().min(0).describe('microseconds')
const redirect = z.enum(['padding', 'entry-nops', 'first-bytes'])
const errorCode = z.enum(Object.keys(ERRORS) as [string, ...string[]])

const failed = z.strictObject({ code: errorCode, what: text, detail: text, todo: text, facts: z.record(text, z.unknown()) })

const reason = z.strictObject({
  code: z.enum(Object.keys(REASONS) as [string, ...string[]]),
  weight: z.enum(['refuse', 'note']),
  symbol: text,
  file: text,
  detail: text,
})

const changes = z.strictObject({ changed: count, added: count, removed: count })

const diff = z.strictObject({
  objects: z.strictObject({ before: count, after: count, identical: count }),
  items: z.array(
    z.strictObject({
      name: text,
      file: text,
      kind: z.enum(['function', 'data', 'rodata', 'thread-local', 'import', 'unwind', 'section', 'line-numbers', 'type']),
      change: z.enum(['changed', 'added', 'removed']),
      sizeBefore: bytes.optional(),
      sizeAfter: bytes.optional(),
      patchable: z.boolean(),
      accepted: z.boolean().describe('patchable since --accept let through what refuses it'),
      reasons: z.array(reason),
    }),
  ),
  counts: z.strictObject({
    functions: changes,
    data: changes,
    rodata: changes,
    importsAdded: count,
    unwindChanged: count,
    linesMoved: count.describe('functions in which only line numbers moved: not patched'),
  }),
  layouts: z.strictObject({
    compared: count.describe('objects that differ and whose debug information was read'),
    without: z.array(text).describe('objects that differ and have no debug information: their types were not compared'),
  }),
  outcome: z
    .enum(['same', 'patchable', 'accepted', 'refused'])
    .describe('accepted: a patch was made since --accept let through what refuses it'),
  notes: z.array(text),
})

const ownImports = z
  .array(z.strictObject({ name: text, library: text.optional(), version: text.optional() }))
  .describe('what the patch image imports by itself')

const buildReport = z.strictObject({
  base: z.strictObject({ name: text, buildId: text.optional(), textSha256: hex, symbols: text.optional() }),
  id: text,
  sequence: count,
  functions: z.array(
    z.strictObject({
      name: text,
      file: text,
      rva,
      sizeBefore: bytes,
      sizeAfter: bytes,
      redirect: text,
      found: z.enum(['symbol', 'content', 'reference']),
    }),
  ),
  added: z.array(z.strictObject({ name: text, kind: z.enum(['function', 'data', 'rodata', 'thread-local']), size: bytes })),
  imports: z.array(z.strictObject({ name: text, library: text.optional() })).describe('reached through the base image'),
  ownImports,
  accepted: z.array(reason).describe('what --accept let through'),
  remarks: z.array(reason),
  notes: z.array(text),
  diff,
})

const build = z.strictObject({
  file: text.optional(),
  size: bytes.optional(),
  report: buildReport,
  work: text.optional().describe('with --source: the folder that keeps both builds'),
  others: z
    .array(z.strictObject({ file: text, size: bytes, report: buildReport }))
    .optional()
    .describe('patches for further images'),
  unchanged: z.array(text).optional().describe('base images in which nothing changes'),
})

const identity = { buildId: text.optional(), timeDateStamp: count, checkSum: count, textSha256: hex }

const inspectedBlock = z.strictObject({ name: text, kind: text, binding: text, size: bytes, references: count })

const accepted = z
  .array(z.strictObject({ code: text, symbol: text, file: text, detail: text }))
  .describe('reasons against the patch that its author has let through')

const inspect = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('patch'),
    format: z.enum(['elf', 'pe']),
    machine: text,
    id: text,
    description: text,
    cves: z.array(text),
    sequence: count,
    tool: text,
    sha256: hex,
    base: z.strictObject({ name: text, ...identity }),
    functions: z.array(
      z.looseObject({ name: text, file: text, rva, size: bytes, patchRva: rva, patchSize: bytes, redirect: text, originalBytes: hex }),
    ),
    added: z.array(z.looseObject({ name: text, file: text.optional(), kind: text, patchRva: rva, size: bytes })),
    imports: z.array(z.strictObject({ name: text, library: text.optional() })).describe('reached through the base image'),
    libraries: z.array(text).describe('what it asks for by name'),
    ownImports,
    consistency: z.literal('patch').optional().describe('the weakest at which it may be applied; absent: any'),
    mustBeUnused: z.array(text).describe('exports of the base image that no other module of a process may name'),
    accepted,
    together: z
      .array(z.strictObject({ id: text, base: text }))
      .optional()
      .describe('the patches of the same update, this one among them'),
    table: z.strictObject({
      version: count,
      extraPatchSize: count,
      chunks: z.array(z.strictObject({ type: text, inverse: z.boolean(), obligatory: z.boolean(), records: count })),
    }),
    segments: z.array(z.strictObject({ rva, size: bytes, protection: z.enum(['r', 'rw', 'rx']) })),
  }),
  z.strictObject({
    kind: z.literal('image'),
    format: z.enum(['elf', 'pe']),
    machine: text,
    name: text,
    ...identity,
    imageSize: bytes,
    importSlots: count,
    functions: z.array(
      z.strictObject({
        name: text,
        file: text.optional(),
        rva,
        size: bytes,
        redirect: text.optional(),
        refused: z.strictObject({ code: text, why: text }).optional(),
      }),
    ),
    hotpatchable: z.record(text, count),
  }),
  z.strictObject({
    kind: z.literal('objects'),
    objects: z.array(
      z.strictObject({
        path: text,
        format: z.enum(['elf', 'coff']),
        machine: text,
        sourceFile: text.optional(),
        functions: z.array(inspectedBlock),
        data: z.array(inspectedBlock),
        undefined: z.array(text),
        notes: z.array(text),
      }),
    ),
  }),
])

const blocker = z.strictObject({ code: errorCode, symbol: text, detail: text, todo: text })
const state = z.string().describe('applied, superseded, reverted, or the step that an engine was cut off in')
const recovery = z.looseObject({ id: text, ledger: address, state, outcome: text })
const stop = z.looseObject({
  consistency: z.enum(['none', 'function', 'patch']),
  way: z.enum(['stop', 'stores']),
  stoppedMicroseconds: microseconds,
  longestStopMicroseconds: microseconds,
  threads: count,
  tries: count,
})

const patchName = z.strictObject({ id: text, sequence: count })

const callouts = z
  .array(
    z.strictObject({
      operation: z.enum(['before', 'after', 'undone']),
      outcome: z.enum(['done', 'failed', 'faulted', 'timed-out', 'not-called']),
      result: count.describe('what it returned'),
      detail: text,
    }),
  )
  .describe("what the patch's callback answered")

const CHECKED = ['would-apply', 'already-applied', 'would-refuse'] as const

const check = z.looseObject({
  pid: count,
  outcome: z.enum(CHECKED),
  id: text,
  sequence: count,
  supersedes: patchName.optional(),
  base: z.strictObject({ name: text, path: text, address, deleted: z.boolean() }).optional(),
  functions: z.array(z.looseObject({ name: text, file: text, address, size: bytes, redirect, overwritten: bytes })),
  place: z.strictObject({ image: address, imageSize: bytes, hpat: address, hpatSize: bytes }).optional(),
  loads: z.array(text).describe('libraries that the process would load for it'),
  blockers: z.array(blocker),
  accepted,
  interrupted: z.array(z.strictObject({ id: text, state })),
})

const reclaim = z
  .strictObject({
    memory: z.array(z.strictObject({ id: text, address, size: bytes })),
    stops: count.describe('how often all threads were stopped to see whether anything leads into it'),
    longestStopMicroseconds: microseconds,
  })
  .describe('memory of patches that are in place no more, given back because nothing leads into it')

const signer = z.strictObject({ name: text, keyId: hex })

const missing = z
  .array(z.strictObject({ id: text, base: text }))
  .describe('patches of the same update that were not given, and the base images that they are for')

const apply = z.looseObject({
  pid: count,
  outcome: z.enum(['applied', 'already-applied']),
  id: text,
  sequence: count,
  base: z.strictObject({ name: text, path: text, address }),
  functions: z.array(z.looseObject({ name: text, file: text, address, target: address, redirect })),
  superseded: z
    .strictObject({
      id: text,
      sequence: count,
      restored: z.array(text).describe('functions that it alone had redirected'),
      kept: z.array(text).describe('variables whose values were carried over'),
    })
    .optional()
    .describe('the patch whose place it took'),
  stop: stop.optional(),
  callouts,
  mappings: z.array(z.strictObject({ what: z.enum(['image', 'hpat']), address, size: bytes })),
  signedBy: signer.optional(),
  accepted,
  missing: missing.optional().describe('given once: beside `patches` where there are several'),
  loaded: z.array(text).describe('libraries that the process has loaded for it'),
  recovered: z.array(recovery),
  reclaim,
})

const patchStatus = z.looseObject({
  id: text,
  sequence: count,
  description: text,
  cves: z.array(text),
  state,
  recovery: z.enum(['none', 'complete', 'withdraw', 'undo', 'supersede', 'resume']),
  supersedes: patchName.optional(),
  supersededBy: patchName.optional(),
  callout: z.enum(['none', 'before', 'after', 'undone']).optional().describe('the last operation of its callback; absent: it has none'),
  base: z.strictObject({ name: text, path: text, address }),
  functions: z.array(z.looseObject({ name: text, file: text, address, target: address, redirect })),
  appliedAt: z.iso.datetime().optional(),
  revertedAt: z.iso.datetime().optional(),
  tool: text,
  image: z.strictObject({ address, size: bytes, sha256: hex, mapped: z.boolean().describe('false: it was given back') }),
  region: z.strictObject({ address, size: bytes }),
})

const damaged = z.array(z.strictObject({ code: text, detail: text }))

const status = z.strictObject({
  processes: z.array(z.strictObject({ pid: count, name: text, patches: z.array(patchStatus), damaged })),
  looked: count.describe('processes that were looked at'),
  unreadable: z.record(text, count).describe('processes that could not be looked at, by error code'),
})

const verify = z.strictObject({
  pid: count,
  outcome: z.enum(['verified', 'differs', 'nothing-to-verify']),
  patches: z.array(
    z.looseObject({
      id: text,
      sequence: count,
      state,
      bytesCompared: bytes,
      findings: z.array(
        z.strictObject({
          what: z.enum(['entry', 'pad', 'stub', 'pointer', 'image', 'protection']),
          function: text,
          address,
          expected: text,
          found: text,
        }),
      ),
    }),
  ),
  damaged,
})

const UNDONE = ['rolled-back', 'nothing-to-roll-back'] as const

const rollback = z.looseObject({
  pid: count,
  outcome: z.enum(UNDONE),
  id: text.optional(),
  to: patchName.optional().describe('the patch that is in place again; absent: the original program is'),
  functions: z.array(z.strictObject({ name: text, address })),
  stop: stop.optional(),
  callouts,
  retired: z.array(z.looseObject({ address, size: bytes })).describe('memory of the patch that stays mapped'),
  reclaim,
  recovered: z.array(recovery),
})

/** What a command with --all answers, of which `report` is its answer for one process. */
const everywhere = <Report extends z.ZodType>(outcomes: readonly [string, ...string[]], report: Report) => ({
  processes: z.array(
    z.strictObject({
      pid: count,
      name: text,
      outcome: z.enum([...outcomes, 'failed', 'gone']),
      exit: z.number().int().min(0).max(6).describe('the exit code for this process alone'),
      report: report.optional(),
      error: failed.optional(),
    }),
  ),
  counts: z.record(text, count).describe('processes by outcome'),
  asides: z
    .array(z.strictObject({ pid: count, name: text, detail: text }))
    .describe('processes that were left alone since they map another build of the base image'),
  looked: count.describe('processes that were looked at'),
  unreadable: z.record(text, count).describe('processes that could not be looked at, by error code'),
})

const key = z.strictObject({ name: text, id: hex, file: text })

const checkedOnce = check.omit({ accepted: true })
const appliedOnce = apply.omit({ signedBy: true, accepted: true, missing: true })

/** The `result` of each command. */
export const RESULTS = {
  diff,
  build,
  inspect,
  check: z.union([
    check,
    z.strictObject({ pid: count, patches: z.array(check).describe('several patches, that would be applied together or not at all') }),
  ]),
  apply: z.union([
    apply,
    z.strictObject({ pid: count, patches: z.array(apply).describe('several patches, applied at one instant'), missing }),
  ]),
  status,
  verify,
  rollback: z.union([
    rollback,
    z.strictObject({ pid: count, patches: z.array(rollback).describe('several patches, undone at one instant') }),
  ]),
  'check --all': z.union([
    z.strictObject({ ...patchName.shape, accepted, ...everywhere(CHECKED, checkedOnce) }),
    z.strictObject({
      patches: z.array(z.strictObject({ ...patchName.shape, accepted })).describe('several patches'),
      ...everywhere(CHECKED, z.strictObject({ outcome: z.enum(CHECKED), patches: z.array(checkedOnce) })),
    }),
  ]),
  'apply --all': z.union([
    z.strictObject({
      ...patchName.shape,
      signedBy: signer.optional(),
      accepted,
      missing,
      ...everywhere(['applied', 'already-applied'], appliedOnce),
    }),
    z.strictObject({
      patches: z.array(z.strictObject({ ...patchName.shape, signedBy: signer.optional(), accepted })).describe('several patches'),
      missing,
      ...everywhere(['applied', 'already-applied'], z.strictObject({ outcome: text, patches: z.array(appliedOnce) })),
    }),
  ]),
  'verify --all': z.strictObject(everywhere(['verified', 'differs', 'nothing-to-verify'], verify)),
  'rollback --all': z.union([
    z.strictObject({ id: text, ...everywhere(UNDONE, rollback) }),
    z.strictObject({
      ids: z.array(text).describe('several patches, undone at one instant'),
      ...everywhere(UNDONE, z.strictObject({ outcome: z.enum(UNDONE), patches: z.array(rollback) })),
    }),
  ]),
  sign: z.strictObject({ file: text, id: text, keyId: hex, imageSha256: hex }),
  'keys generate': z.strictObject({ id: hex, privateFile: text, publicFile: text }),
  'keys trust': key,
  'keys distrust': key,
  'keys list': z.strictObject({ folder: text, keys: z.array(key) }),
} as const

const envelope = { hotpatch: text.describe('the version'), exit: z.number().int().min(0).max(6).describe('the exit code') }

export const failure = z.strictObject({
  ...envelope,
  command: text,
  outcome: z.literal('error'),
  error: failed,
})

/** The whole document that `command` prints when it does not fail. */
export const success = (command: keyof typeof RESULTS) =>
  z.strictObject({ ...envelope, command: z.literal(command), outcome: text, result: RESULTS[command] })

/** Throws where the document is not what is documented. */
export function requireDocumented(document: unknown): void {
  const { command, outcome } = z.looseObject({ command: text, outcome: text }).parse(document)
  if (outcome === 'error') failure.parse(document)
  else success(z.enum(Object.keys(RESULTS) as [keyof typeof RESULTS]).parse(command)).parse(document)
}
