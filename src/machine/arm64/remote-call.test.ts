import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { REMOTE_CALL_BLOCK } from '../call-block.ts'
import { ARM64_REMOTE_CALL, assembleWords, SIGRETURN, SVC_RET, type Word } from './remote-call.ts'

const OBJDUMP = 'aarch64-linux-gnu-objdump'
const present = (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, OBJDUMP)))

describe.skipIf(!present)(`listings${present ? '' : ` (skipped: ${OBJDUMP} is not installed)`}`, () => {
  it.each<[string, readonly Word[]]>([
    ['ARM64_REMOTE_CALL', ARM64_REMOTE_CALL],
    ['SVC_RET', SVC_RET],
    ['SIGRETURN', SIGRETURN],
  ])('%s says what its words do', (_, words) => {
    const folder = mkdtempSync(join(tmpdir(), 'hotpatch-words-'))
    try {
      const file = join(folder, 'code')
      writeFileSync(file, assembleWords(words))
      const text = execFileSync(OBJDUMP, ['-D', '-b', 'binary', '-m', 'aarch64', file], { encoding: 'utf8' })
      const listed = [...text.matchAll(/^ +[0-9a-f]+:\t[0-9a-f]{8} \t(.*)$/gm)].map(([, line = '']) =>
        line.replace(/\s*\/\/.*$/, '').replace('\t', ' '),
      )
      expect(listed).toEqual(words.map(([, assembly]) => assembly))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

it('the remote call reads and writes where the block has its fields', () => {
  const fields = ARM64_REMOTE_CALL.flatMap(([, assembly]) =>
    [...assembly.matchAll(/\[x19(?:, #(\d+))?\]/g)].map((match) => Number(match[1] ?? 0)),
  )
  const { fn, args, result, done } = REMOTE_CALL_BLOCK
  expect(fields).toEqual([fn, args, args + 16, args + 32, args + 48, result, done])
})
