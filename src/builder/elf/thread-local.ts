/** What a linked ELF image says about its thread-local data ("ELF Handling For Thread-Local Storage", 3). */
import { DF_1, DT, ET, PT } from '../../binary/elf/definitions.ts'
import type { ElfFile } from '../../binary/elf/reader.ts'
import { viewOf } from '../../binary/struct.ts'
import type { ThreadLocalData, ThreadLocalSlot } from '../base-image.ts'
import type { ElfMachine } from './machines.ts'

/** Whether it is a program and no library. Linkers before DF_1_PIE leave position-independent programs looking like libraries. */
export const isProgram = (elf: ElfFile): boolean =>
  elf.type === ET.EXEC || (Number(elf.dynamic()?.value(DT.FLAGS_1) ?? 0n) & DF_1.PIE) !== 0

/** undefined: it has no thread-local data and uses none of others. */
export function threadLocalData(elf: ElfFile, floor: bigint, machine: ElfMachine): ThreadLocalData | undefined {
  const segment = elf.segments.find((s) => s.type === PT.TLS)
  const slots = threadLocalSlots(elf, floor, machine)
  if (segment === undefined) return slots.length === 0 ? undefined : { rva: 0, fromThreadPointer: undefined, slots }
  const { vaddr, memsz, align } = segment
  const fromThreadPointer = isProgram(elf) ? machine.ownBlock({ vaddr, memsz, align: Math.max(align, 1) }) : undefined
  return { rva: Number(vaddr - floor), fromThreadPointer, slots }
}

function threadLocalSlots(elf: ElfFile, floor: bigint, { threadLocal }: ElfMachine): ThreadLocalSlot[] {
  const symbols = elf.dynamicSymbols()
  const { ordinary, plt } = elf.dynamicRelocations()
  const all = [...ordinary, ...plt]
  const offsets = new Map(all.filter((r) => r.type === threadLocal.offset).map((r) => [r.offset, r]))
  const slots: ThreadLocalSlot[] = []
  for (const { offset, type, symbol, addend = 0 } of all) {
    const rva = offset - Number(floor)
    const name = symbol === 0 ? undefined : symbols[symbol]?.name
    const place = name === undefined ? { name, offset: addend } : { name, offset: undefined }
    if (type === threadLocal.distance) slots.push({ holds: 'distance', rva, ...place })
    else if (type === threadLocal.descriptor) slots.push({ holds: 'descriptor', rva, ...place })
    else if (type === threadLocal.module) {
      slots.push({ holds: 'module', rva, name, offset: undefined })
      // Of a variable that nobody else can replace, the linker has written the offset itself.
      if (name === undefined) slots.push({ holds: 'pair', rva, name, offset: wordAt(elf, offset + 8) })
      else if (offsets.get(offset + 8)?.symbol === symbol) slots.push({ holds: 'pair', rva, name, offset: undefined })
    }
  }
  return slots
}

function wordAt(elf: ElfFile, address: number): number | undefined {
  const at = BigInt(address)
  return elf.space.available(at) < 8 ? undefined : Number(viewOf(elf.space.at(at, 8, 'a thread-local slot')).getBigInt64(0, true))
}
