import { arm64 } from './arm64/machine.ts'
import type { LinuxMachine } from './machine.ts'
import { x64 } from './x64/machine.ts'

/** The processor that we run on, and every process that can be opened. */
export const machine: LinuxMachine = process.arch === 'arm64' ? arm64 : x64
