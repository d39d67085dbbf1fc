/**
 * Where code computes with a number: how the size of a type betrays where objects of it are made. What an allocator is told is either the
 * size itself, or a product with it (`imul`), or a sum (`lea`, `add`): all of them have it as a constant.
 */
import { viewOf } from '../../binary/struct.ts'
import { decode, type Instruction, operandsOf } from '../../machine/x64/decode.ts'
import type { Block, GraphSymbol, LinkGraph } from '../graph.ts'

export interface ConstantUse {
  readonly graph: LinkGraph
  readonly block: Block
  /** The function that is called next, through whatever pointer; undefined: none is, or it is not known. */
  readonly callee: GraphSymbol | undefined
  /** Whether the second argument of that call is zero. */
  readonly zeroSecond: boolean
}

/** Numbers below this stand in instructions for too many other things. */
export const LEAST_TELLING = 128

/** How many instructions lie at most between an argument and its call. */
const NEAR = 24

/** Every use of `value` in the code of a graph, frames' sizes aside. Only for x64 and values from LEAST_TELLING on. */
export function constantUses(graph: LinkGraph, value: number): ConstantUse[] {
  const pattern = new Uint8Array(4)
  viewOf(pattern).setUint32(0, value, true)
  const uses: ConstantUse[] = []
  for (const block of graph.blocks) {
    if (block.kind !== 'code' || block.content === undefined) continue
    const content = Buffer.from(block.content.buffer, block.content.byteOffset, block.content.length)
    if (content.indexOf(pattern) >= 0) uses.push(...usesIn(graph, block, content, value))
  }
  return uses
}

function* usesIn(graph: LinkGraph, block: Block, content: Uint8Array, value: number): Generator<ConstantUse> {
  const { instructions } = decode(content)
  for (const [i, { offset }] of instructions.entries()) {
    const { immediates, added, ofStack } = operandsOf(content, offset)
    if (ofStack || !(immediates.includes(BigInt(value)) || added === BigInt(value))) continue
    const call = callAfter(instructions, i)
    const zeroSecond = call !== undefined && clearsSecond(content, instructions[Math.max(0, i - NEAR)] as Instruction, call)
    yield { graph, block, callee: call && calleeOf(block, content, instructions, call), zeroSecond }
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
function calleeOf(block: Block, content: Uint8Array, instructions: readonly Instruction[], call: Instruction): GraphSymbol | undefined {
  const named = edgeIn(block, call)
  if (named !== undefined || call.flow !== 'call-indirect') return named
  const { through } = operandsOf(content, call.offset)
  const index = instructions.indexOf(call)
  for (const instruction of instructions.slice(Math.max(0, index - NEAR), index).reverse()) {
    if (instruction.flow !== 'next') return undefined
    if (operandsOf(content, instruction.offset).first === through) return edgeIn(block, instruction)
  }
  return undefined
}

const edgeIn = (block: Block, { offset, length }: Instruction): GraphSymbol | undefined =>
  block.edges.find((edge) => edge.offset >= offset && edge.offset < offset + length)?.target
