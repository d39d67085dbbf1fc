/**
 * GNU ld's `-Map`. Output sections begin their line, input sections are indented by one blank, symbols by many; a name of more than 15
 * characters has the line to itself. Statics are not listed, but `-ffunction-sections -fdata-sections` give their names to input sections.
 */
import type { LinkerMap, MapSection, MapSymbol } from './definitions.ts'

const START = /^Linker script and memory map$/m
const OUTPUT = /^(\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)/
const INPUT = /^ (\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) \S/
const SYMBOL = /^ {10,}0x([0-9a-f]+) {4,}([^\s=]+)$/
const NAME_ALONE = /^ ?\.\S+$/
/** `.text.f` of ELF, `.text$f` of PE. */
const OWN_SECTION = /^\.(?:text|data|bss|rodata|rdata|tdata|tbss|data\.rel\.ro|data\.rel\.local)[.$]((?:[A-Za-z_]|\$)[\w.$]*)$/

export function gnuMap(text: string): LinkerMap | undefined {
  const start = START.exec(text)
  if (start === null) return undefined
  const sections: MapSection[] = []
  const symbols: MapSymbol[] = []
  let pending = ''
  for (const line of text.slice(start.index).split('\n')) {
    const whole = pending + line.trimEnd()
    pending = ''
    if (NAME_ALONE.test(whole)) {
      pending = whole
      continue
    }
    const symbol = SYMBOL.exec(whole)
    if (symbol !== null) {
      symbols.push({ name: symbol[2] as string, address: hex(symbol[1]), size: 0, binding: 'global' })
      continue
    }
    const output = OUTPUT.exec(whole)
    if (output !== null) {
      sections.push({ name: output[1] as string, address: hex(output[2]), size: hex(output[3]) })
      continue
    }
    const input = INPUT.exec(whole)
    const own = input === null ? undefined : OWN_SECTION.exec(input[1] as string)?.[1]
    if (input !== null && own !== undefined && hex(input[3]) > 0)
      symbols.push({ name: own, address: hex(input[2]), size: hex(input[3]), binding: 'local' })
  }
  return { kind: 'gnu', addresses: 'absolute', sections, symbols, hasStatics: false, timestamp: undefined, imageBase: undefined }
}

const hex = (digits: string | undefined): number => Number.parseInt(digits ?? '0', 16)
