/** ARM64 as a record: what the builder and the engine know of the processor. */
import type { Architecture } from '../architecture.ts'
import { fallsThrough, hasErratum843419, isPadding, outwardReferences } from './code.ts'
import { constantUses } from './constant-uses.ts'
import { constantsIn } from './constants.ts'
import { ehFrameTable, framesByNeed, frameTable, leafTable } from './frames.ts'
import { excuse, isAccess, seen, slotOfStub, throughSlot } from './linking.ts'
import { mayAddress } from './may-address.ts'
import { encodeRedirect, hasLandingPad, landing, planRedirect } from './redirect.ts'
import { FRAME_POINTER, LINK_REGISTER, PROGRAM_COUNTER, REGISTER_COUNT, STACK_POINTER } from './registers.ts'
import { farJump, HPAT_STUB_SIZE, hpatCodePage, pointerJump } from './stubs.ts'
import { agrees, callOf, toInitialExec, toLocalExec, withSlot } from './thread-local.ts'
import { Walker } from './unwind.ts'

/** B and BL: 26 bits of words. */
const BRANCH_REACH = 2 ** 27

export const ARM64: Architecture = {
  machine: 'arm64',
  redirects: {
    reach: BigInt(BRANCH_REACH),
    stubSize: HPAT_STUB_SIZE,
    stubPage: hpatCodePage,
    plan: planRedirect,
    encode: encodeRedirect,
    landing,
    hasLandingPad,
  },
  code: {
    fallsThrough,
    isPadding,
    outwardReferences,
    originOf: () => 0,
    constants: constantsIn,
    constantUses,
    mayAddress,
    mayLieAt: (code, address) => !hasErratum843419(code, address),
  },
  linking: {
    throughSlot,
    // What binds at the first call is called through a register here: nobody sees from the load what it is for.
    jumpsThrough: () => false,
    isAccess,
    jumpStub: farJump,
    pointerStub: pointerJump,
    branchReach: BRANCH_REACH,
    // udf #0
    fill: 0,
    excuse,
    seen,
    slotOfStub,
    threadLocal: { callOf, toLocalExec, toInitialExec, withSlot, agrees },
  },
  unwinding: {
    registerCount: REGISTER_COUNT,
    stackPointer: STACK_POINTER,
    framePointer: FRAME_POINTER,
    instructionPointer: PROGRAM_COUNTER,
    returnAddress: LINK_REGISTER,
    // Addresses of user space have 48 bits; above them are signatures and tags.
    upperMask: 0xffff,
    walker: (modules) => new Walker(modules),
    frameTable,
    framesByNeed,
    ehFrameTable,
    leafTable,
  },
}
