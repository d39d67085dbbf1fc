/** Stopped threads of which there are none. */
import { HotpatchError } from '../errors.ts'
import type { StoppedThreads } from './contract.ts'

function none(): never {
  throw new HotpatchError('DEFECT', 'there is no such thread')
}

export const NOBODY: StoppedThreads = {
  count: 0,
  id: none,
  instructionPointer: none,
  stackPointer: none,
  registers: none,
  threadPointer: none,
  stack: none,
  read: () => 0,
}
