import { describe, expect, test } from 'vitest'
import { UserRegs } from '../../../os/linux/definitions.ts'
import { withOwnCall } from './restarted.ts'
import { type Registers, restartingCall } from './sigframe.ts'

const RESTARTBLOCK = BigInt.asUintN(64, -516n)
const NEXT = 0x1007n

const stopped = (call: bigint): Registers => ({
  ...UserRegs.readAt(new Uint8Array(UserRegs.size), 0),
  rip: NEXT,
  rax: RESTARTBLOCK,
  orig_rax: call,
})
const code = (...bytes: number[]) => ({
  tryRead: (address: bigint, length: number) => (address === 0x1000n && length === 7 ? Uint8Array.from(bytes) : undefined),
})

describe('a thread that was stopped in a call that goes on', () => {
  test.each([
    ['poll', 7],
    ['nanosleep', 35],
    ['futex', 202],
    ['clock_nanosleep', 230],
  ])('%s: begins it anew by its own number', (_, number) => {
    const registers = withOwnCall(stopped(219n), code(0xb8, number, 0, 0, 0, 0x0f, 0x05))
    expect(restartingCall(registers)).toMatchObject({ rax: BigInt(number), rip: NEXT - 2n })
  })

  test.each([
    ['another call before it', code(0xb8, 1, 0, 0, 0, 0x0f, 0x05)],
    ['another instruction before it', code(0x48, 7, 0, 0, 0, 0x0f, 0x05)],
    ['no code that could be read', { tryRead: () => undefined }],
  ])('%s: as it is', (_, memory) => {
    expect(withOwnCall(stopped(219n), memory)).toEqual(stopped(219n))
  })

  test('a call that has its own number keeps it', () => {
    expect(withOwnCall(stopped(35n), code(0xb8, 7, 0, 0, 0, 0x0f, 0x05))).toEqual(stopped(35n))
  })
})
