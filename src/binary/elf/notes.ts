/** Notes: small tagged records in PT_NOTE segments and SHT_NOTE sections. */
import { slice } from '../struct.ts'
import { Elf64_Nhdr, NT_GNU } from './definitions.ts'

export interface ElfNote {
  /** The owner, without its terminating zero. */
  readonly name: string
  readonly type: number
  readonly descriptor: Uint8Array
}

const up = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment

/**
 * @param alignment of the segment or section: 8 pads to 8 bytes, everything else to 4, as the C library reads them
 * Throws TRUNCATED.
 */
export function readNotes(data: Uint8Array, alignment: number): ElfNote[] {
  const pad = alignment === 8 ? 8 : 4
  const notes: ElfNote[] = []
  for (let at = 0; at + Elf64_Nhdr.size <= data.length; ) {
    const { n_namesz, n_descsz, n_type } = Elf64_Nhdr.readAt(data, at)
    const name = slice(data, at + Elf64_Nhdr.size, n_namesz, 'the name of a note')
    const descriptorAt = at + up(Elf64_Nhdr.size + n_namesz, pad)
    const descriptor = slice(data, descriptorAt, n_descsz, 'the descriptor of a note')
    notes.push({ name: Buffer.from(name).toString('latin1').replace(/\0+$/, ''), type: n_type, descriptor })
    at = descriptorAt + up(n_descsz, pad)
  }
  return notes
}

/** NT_GNU_BUILD_ID in lower-case hexadecimal. */
export function buildIdOf(notes: readonly ElfNote[]): string | undefined {
  const note = notes.find((n) => n.name === 'GNU' && n.type === NT_GNU.BUILD_ID && n.descriptor.length > 0)
  return note && Buffer.from(note.descriptor).toString('hex')
}

/** The bytes of one note, padded to 4. */
export function encodeNote(name: string, type: number, descriptor: Uint8Array): Uint8Array {
  const header = Elf64_Nhdr.encode({ n_namesz: name.length + 1, n_descsz: descriptor.length, n_type: type })
  const descriptorAt = header.length + up(name.length + 1, 4)
  const data = new Uint8Array(descriptorAt + up(descriptor.length, 4))
  data.set(header)
  data.set(Buffer.from(name, 'latin1'), header.length)
  data.set(descriptor, descriptorAt)
  return data
}
