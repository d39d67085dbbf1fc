/** Where x64 code computes with a number, and what is called next: CodeReading.constantUses. */
import { viewOf } from '../../binary/struct.ts'
import type { CodeRange, ConstantUse } from '../architecture.ts'
import { decode, type Instruction, operandsOf } from './decode.ts'

/** How many instructions lie at most between an argument and its call. */
const NEAR = 24

/** What an allocator is told is either the number itself, or a product with it (`imul`), or a sum (`lea`, `add`): all of them have it as a constant. */
export function constantUses(code: Uint8Array, value: number): ConstantUse[] {
  const pattern = new Uint8Array(4)
  viewOf(pattern).setUint32(0, value, true)
  const content = Buffer.from(code.buffer, code.byteOffset, code.length)
  return content.indexOf(pattern) < 0 ? [] : [...usesIn(content, value)]
}

function* usesIn(content: Uint8Array, value: number): Generator<ConstantUse> {
  const { instructions } = decode(content)
  for (const [i, { offset }] of instructions.entries()) {
    const { immediates, added, ofStack } = operandsOf(content, offset)
    if (ofStack || !(immediates.includes(BigInt(value)) || added === BigInt(value))) continue
    const call = callAfter(instructions, i)
    const zeroSecond = call !== undefined && clearsSecond(content, instructions[Math.max(0, i - NEAR)] as Instruction, call)
    yield { namedBy: call === undefined ? [] : namesOf(content, instructions, call), zeroSecond, isItsArgument: call !== undefined }
  }
}

function callAfter(instructions: readonly Instruction[], index: number): Instruction | undefined {
  for (const instruction of instructions.slice(index + 1, index + 1 + NEAR)) {
    if (instruction.flow === 'call' || instruction.flow === 'call-indirect') return instruction
    // A tail call is one, too.
    if (instruction.flow === 'jump') return instruction
    if (instruction.flow !== 'next') return undefined
  }
  return undefined
}

/** `xor esi, esi` (System V) or `xor edx, edx` (Windows). */
const CLEARS: readonly (readonly [number, number])[] = [
  [0x31, 0xf6],
  [0x31, 0xd2],
]

function clearsSecond(content: Uint8Array, first: Instruction, call: Instruction): boolean {
  for (let at = first.offset; at + 1 < call.offset; at++)
    if (CLEARS.some(([a, b]) => content[at] === a && content[at + 1] === b)) return true
  return false
}

/** Called by name, through a variable, or through a register that was loaded with either shortly before. */
function namesOf(content: Uint8Array, instructions: readonly Instruction[], call: Instruction): CodeRange[] {
  if (call.flow !== 'call-indirect') return [call]
  const { through } = operandsOf(content, call.offset)
  const index = instructions.indexOf(call)
  for (const instruction of instructions.slice(Math.max(0, index - NEAR), index).reverse()) {
    if (instruction.flow !== 'next') break
    if (operandsOf(content, instruction.offset).first === through) return [call, instruction]
  }
  return [call]
}
