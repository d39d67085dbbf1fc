/**
 * Frame tables of ARM64 (see x64/frames.ts for what they are). Where the return address is, the rule of x30 says; without one it still is in x30
 * itself. A row's saved registers hold x30 like any other; the frame begins at the CFA, which counts from sp or x29.
 */
import type { CfaRow } from '../../binary/dwarf/cfa.ts'
import type { FrameFunction } from '../../binary/dwarf/frames.ts'
import { ehFrameTable as compileEhFrame, type EhRegisters } from '../x64/eh-frame-table.ts'
import { frameTable as compile, FrameKind, type FrameTable, type RowShape, TableBuilder, type WholeTable } from '../x64/frames.ts'
import { framesByNeed as byNeed, type FunctionsByNeed } from '../x64/frames-by-need.ts'
import { FRAME_POINTER, LINK_REGISTER, STACK_POINTER } from './registers.ts'

/** x0 to x30. Vector registers hold no addresses. */
const TRACKED = 31

function simple({ cfa, registers }: CfaRow): { kind: number; offset: number } | undefined {
  if (registers.get(LINK_REGISTER)?.kind === 'undefined') return { kind: FrameKind.end, offset: 0 }
  if (cfa.kind !== 'register' || (cfa.register !== STACK_POINTER && cfa.register !== FRAME_POINTER)) return undefined
  for (const [register, rule] of registers) if (register < TRACKED && rule.kind !== 'offset') return undefined
  return { kind: cfa.register === STACK_POINTER ? FrameKind.rsp : FrameKind.rbp, offset: cfa.offset }
}

const ROWS: RowShape = { tracked: TRACKED, simple }

export const frameTable = (functions: Iterable<FrameFunction>): WholeTable => compile(functions, ROWS)

export const framesByNeed = (functions: FunctionsByNeed): FrameTable => byNeed(functions, ROWS)

const REGISTERS: EhRegisters = {
  shape: ROWS,
  stackPointer: STACK_POINTER,
  framePointer: FRAME_POINTER,
  returnAddress: LINK_REGISTER,
  pushed: false,
}

export const ehFrameTable = (section: Uint8Array, sectionAddress: number, origin: number): FrameTable =>
  compileEhFrame(section, sectionAddress, origin, REGISTERS)

/** For code that moves nothing anywhere: the return address is in x30. */
export function leafTable(): WholeTable {
  const table = new TableBuilder(ROWS)
  table.append(0, FrameKind.rsp, 0, 0)
  return table.finish()
}
