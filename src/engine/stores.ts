/** Switching without a stop: each write is one store of the aligned word around its bytes. */
import type { Process, SwitchRequest } from '../process/contract.ts'

const WORD = 8n

/** Whether the bytes lie within one aligned word of 8 bytes. */
export const isOneStore = (address: bigint, length: number): boolean => Number(address % WORD) + length <= Number(WORD)

/** In order; if one fails, those done are taken back. Throws MEMORY_UNWRITABLE, PROCESS_GONE. */
export function storeAll(process: Process, writes: SwitchRequest['writes']): void {
  const done: { word: bigint; before: Uint8Array }[] = []
  try {
    for (const { address, bytes } of writes) {
      const word = address - (address % WORD)
      const before = process.read(word, Number(WORD))
      const after = before.slice()
      after.set(bytes, Number(address - word))
      process.write(word, after)
      done.push({ word, before })
    }
  } catch (error) {
    for (const { word, before } of done.reverse()) process.write(word, before)
    throw error
  }
}
