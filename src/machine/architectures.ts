/** The processors that hotpatch knows. */
import type { Architecture, Machine } from './architecture.ts'
import { ARM64 } from './arm64/architecture.ts'
import { X64 } from './x64/architecture.ts'

const ARCHITECTURES: Readonly<Record<Machine, Architecture>> = { x64: X64, arm64: ARM64 }

export const architectureOf = (machine: Machine): Architecture => ARCHITECTURES[machine]
