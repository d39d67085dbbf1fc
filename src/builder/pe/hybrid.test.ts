import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ImageLoadConfigDirectory64 } from '../../binary/pe/definitions.ts'
import { directory, readPe } from '../../binary/pe/reader.ts'
import { readPeBase } from './base.ts'
import { graphFromCoff } from './graph.ts'

const LIBRARY = join(import.meta.dirname, '../../binary/pe/fixtures/lld19-msvc.dll')
const library = (): Uint8Array => new Uint8Array(readFileSync(LIBRARY))
const refused = (what: RegExp) => expect.objectContaining({ code: 'MACHINE_UNSUPPORTED', message: expect.stringMatching(what) })

const PE_MACHINE = (data: Uint8Array): number => new DataView(data.buffer).getUint32(0x3c, true) + 4

describe('images for two processors', () => {
  it('are known by their load configuration, whatever processor they name', () => {
    const data = library()
    expect(() => readPeBase(data, 'plain.dll')).not.toThrow()
    const image = readPe(data)
    const { rva } = directory(image, 'LOAD_CONFIG') as { rva: number }
    const section = image.sections.find((s) => rva >= s.rva && rva < s.rva + s.size) as (typeof image.sections)[number]
    const at = section.fileOffset + rva - section.rva
    const view = new DataView(data.buffer)
    // As long as that of a newer linker.
    view.setUint32(at, ImageLoadConfigDirectory64.offsets.CHPEMetadataPointer + 8, true)
    view.setBigUint64(at + ImageLoadConfigDirectory64.offsets.CHPEMetadataPointer, 0x180001000n, true)
    expect(() => readPeBase(data, 'hybrid.dll')).toThrow(refused(/hybrid\.dll is a hybrid image \(CHPE\)/))
  })

  it('call themselves ones for ARM64, too', () => {
    const data = library()
    new DataView(data.buffer).setUint16(PE_MACHINE(data), 0xa64e, true)
    expect(() => readPeBase(data, 'arm.dll')).toThrow(refused(/machine 0xa64e/))
  })

  it.each([
    [0x1c4, /x\.obj is for machine 0x1c4$/],
    [0xa641, /x\.obj is for ARM64EC, with code for two processors/],
    [0xa64e, /x\.obj is for ARM64X, with code for two processors/],
  ])('objects for machine %i likewise', (machine, message) => {
    const object = new Uint8Array(20)
    new DataView(object.buffer).setUint16(0, machine, true)
    expect(() => graphFromCoff(object, 'x.obj')).toThrow(refused(message))
  })
})
