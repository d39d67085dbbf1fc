/** Which section of a patch image each block of a plan goes to, and where in it. */
import { SHF, SHT } from '../../binary/elf/definitions.ts'
import { HotpatchError } from '../../errors.ts'
import type { CodeReading } from '../../machine/architecture.ts'
import { architectureOf } from '../../machine/architectures.ts'
import type { Block } from '../graph.ts'
import type { PatchPlan } from '../plan.ts'

export type SectionName = '.text' | '.rodata' | '.gcc_except_table' | '.tdata' | '.data.rel.ro' | '.data' | '.bss'

export interface SectionFacts {
  readonly type: number
  readonly flags: number
  /** What fills the room between blocks. undefined: what the processor has for that between functions. */
  readonly fill: number | undefined
}

export const OUTPUT_SECTIONS: Readonly<Record<SectionName, SectionFacts>> = {
  '.rodata': { type: SHT.PROGBITS, flags: SHF.ALLOC, fill: 0 },
  '.gcc_except_table': { type: SHT.PROGBITS, flags: SHF.ALLOC, fill: 0 },
  '.text': { type: SHT.PROGBITS, flags: SHF.ALLOC | SHF.EXECINSTR, fill: undefined },
  '.tdata': { type: SHT.PROGBITS, flags: SHF.ALLOC | SHF.WRITE | SHF.TLS, fill: 0 },
  '.data.rel.ro': { type: SHT.PROGBITS, flags: SHF.ALLOC | SHF.WRITE, fill: 0 },
  '.data': { type: SHT.PROGBITS, flags: SHF.ALLOC | SHF.WRITE, fill: 0 },
  '.bss': { type: SHT.NOBITS, flags: SHF.ALLOC | SHF.WRITE, fill: 0 },
}

/** A section's blocks with their offsets in it. */
export interface FilledSection {
  readonly name: SectionName
  readonly align: number
  readonly size: number
  readonly offsets: ReadonlyMap<Block, number>
}

function sectionOf(block: Block, plan: PatchPlan): SectionName {
  const relocated = block.edges.some((edge) => edge.kind === 'abs64' && plan.resolutions.get(edge)?.to === 'patch')
  switch (block.kind) {
    case 'code':
      if (relocated) throw new HotpatchError('RELOCATION_UNSUPPORTED', `${block.name} has a 64-bit address among its instructions`)
      return '.text'
    case 'rodata':
      // What the loader relocates must be writable while it does.
      if (relocated || block.edges.some(({ kind }) => kind === 'abs64' || kind === 'tpoff64')) return '.data.rel.ro'
      return block.section.startsWith('.gcc_except_table') ? '.gcc_except_table' : '.rodata'
    case 'tls':
      return '.tdata'
    case 'data':
      return '.data'
    case 'bss':
      return '.bss'
    default:
      throw new HotpatchError('DEFECT', `a patch image cannot hold ${block.name}, which is ${block.kind}`)
  }
}

/** Unwind records aside, which eh-frame.ts lays out. Sections without blocks are left out. */
export function fillSections(plan: PatchPlan): FilledSection[] {
  const byName = new Map<SectionName, Block[]>()
  for (const block of plan.blocks) {
    if (block.kind === 'unwind') continue
    const name = sectionOf(block, plan)
    const list = byName.get(name)
    if (list) list.push(block)
    else byName.set(name, [block])
  }
  const names = Object.keys(OUTPUT_SECTIONS) as SectionName[]
  return names.flatMap((name) => {
    const blocks = byName.get(name)
    return blocks ? [fill(name, blocks, architectureOf(plan.base.machine).code)] : []
  })
}

const NOTHING = new Uint8Array(0)

const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment

/** Blocks one after the other; those of a group keep their distances, from where the first of them comes. */
function fill(name: SectionName, blocks: readonly Block[], code: CodeReading): FilledSection {
  const groups = new Map<string, Block[]>()
  for (const block of blocks) {
    if (block.group === undefined) continue
    const members = groups.get(block.group)
    if (members) members.push(block)
    else groups.set(block.group, [block])
  }
  const offsets = new Map<Block, number>()
  let size = 0
  let align = 1
  for (const block of blocks) {
    if (offsets.has(block)) continue
    const members = block.group === undefined ? [block] : (groups.get(block.group) ?? [block])
    const alignment = Math.max(...members.map((m) => m.alignment), 1)
    let start = alignUp(size, alignment)
    // Sections of code begin on pages.
    while (name === '.text' && !members.every((m) => code.mayLieAt(m.content ?? NOTHING, start + (m.groupOffset ?? 0)))) start += alignment
    for (const member of members) {
      const offset = start + (member.group === undefined ? 0 : (member.groupOffset ?? 0))
      offsets.set(member, offset)
      size = Math.max(size, offset + member.size)
    }
    align = Math.max(align, alignment)
  }
  return { name, align, size, offsets }
}
