/** Numbers in x64 code: immediates, and what LEA adds. Those that move the stack pointer are left out. */
import { decode, operandsOf } from './decode.ts'

/** CodeReading.constants. */
export const constantsIn = (code: Uint8Array): bigint[] =>
  decode(code).instructions.flatMap(({ offset, flow }) => {
    if (flow !== 'next') return []
    const { immediates, added, ofStack } = operandsOf(code, offset)
    return ofStack ? [] : [...immediates, ...(added === undefined ? [] : [added])]
  })
