/** x64 as a record: what the builder and the engine know of the processor. */
import type { Architecture } from '../architecture.ts'
import { constantUses } from './constant-uses.ts'
import { constantsIn } from './constants.ts'
import { ehFrameTable } from './eh-frame-table.ts'
import { instructionEnd } from './fields.ts'
import { frameTable, leafTable, RBP, REGISTER_COUNT, RETURN_ADDRESS, RSP } from './frames.ts'
import { framesByNeed } from './frames-by-need.ts'
import { excuse, isAccess, jumpsThrough, loadInstead, seen, slotOfStub } from './linking.ts'
import { mayAddress } from './may-address.ts'
import { outwardReferences } from './outward.ts'
import { encodeRedirect, fallsThrough, hasLandingPad, isPadding, planRedirect } from './redirect.ts'
import { encodeNearJump, encodePointerJump, HPAT_STUB_SIZE, hpatCodePage, NEAR_JUMP_SIZE, POINTER_JUMP_SIZE } from './stubs.ts'
import { agrees, callOf, toInitialExec, toLocalExec, withSlot } from './thread-local.ts'
import { Walker } from './unwind.ts'

/** A 4-byte displacement, and so everything that jumps, reaches 2 GB. */
const REACH = 2 ** 31
/** Of the last field of an instruction. */
const TO_END = -4

export const X64: Architecture = {
  machine: 'x64',
  redirects: {
    reach: BigInt(REACH),
    stubSize: HPAT_STUB_SIZE,
    stubPage: hpatCodePage,
    plan: planRedirect,
    encode: encodeRedirect,
    landing: () => ({ at: 0 }),
    hasLandingPad,
  },
  code: {
    fallsThrough,
    isPadding,
    outwardReferences,
    originOf: (code, field, start) => instructionEnd(code, field, start) - field,
    constants: constantsIn,
    constantUses,
    mayAddress,
    mayLieAt: () => true,
  },
  linking: {
    throughSlot: (got) => (got === 'gotpcrel32' ? 'pcrel32' : undefined),
    jumpsThrough,
    loadInstead,
    isAccess,
    jumpStub: {
      content: encodeNearJump(0n, BigInt(NEAR_JUMP_SIZE)),
      edges: [{ offset: NEAR_JUMP_SIZE - 4, kind: 'branch32', addend: TO_END }],
    },
    pointerStub: {
      content: encodePointerJump(0n, BigInt(POINTER_JUMP_SIZE)),
      edges: [{ offset: POINTER_JUMP_SIZE - 4, kind: 'pcrel32', addend: TO_END }],
    },
    threadLocal: { callOf, toLocalExec, toInitialExec, withSlot, agrees },
    branchReach: REACH,
    // int3
    fill: 0xcc,
    excuse,
    seen,
    slotOfStub,
  },
  unwinding: {
    registerCount: REGISTER_COUNT,
    stackPointer: RSP,
    framePointer: RBP,
    instructionPointer: RETURN_ADDRESS,
    returnAddress: RETURN_ADDRESS,
    upperMask: 0xffffffff,
    walker: (modules) => new Walker(modules),
    frameTable,
    framesByNeed,
    ehFrameTable,
    leafTable,
  },
}
