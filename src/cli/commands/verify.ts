import { buildCommand } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { pidFlag } from '../parameters.ts'

interface Flags extends JsonFlag {
  readonly pid: number
}

export const verifyCommand = buildCommand<Flags, [], Context>({
  docs: {
    brief: 'Compares every patched byte of a process with its ledger',
    fullDescription: [
      'Compares every byte that hotpatch wrote into a process with the ledger: redirected entries, the hotpatch address table, and the',
      "patch image's code and constants. A byte changed behind hotpatch's back is found and named.",
      '',
      'Example: hotpatch verify --pid 4711',
    ].join('\n'),
  },
  parameters: { flags: { pid: pidFlag, json: jsonFlag } },
  async func(flags) {
    await answer(this, 'verify', flags, async () => (await import('../actions/verify.ts')).verify(flags.pid))
  },
})
