import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readBaseRelocations, readTlsDirectory } from '../../binary/pe/directories.ts'
import { directory, readPe } from '../../binary/pe/reader.ts'
import { threadLocalDll } from './module-pe.ts'

const alignments = [1, 2, 4, 8, 16]

describe.each(['x64', 'arm64'] as const)('a DLL of thread-local data for %s', (machine) => {
  it('has whatever content in its section, and every address relocated', () => {
    const contents = fc.uint8Array({ minLength: 1, maxLength: 20_000 })
    fc.assert(
      fc.property(contents, fc.constantFrom(...alignments), (content, alignment) => {
        const { bytes, start, index } = threadLocalDll(machine, { content, alignment })
        const image = readPe(bytes)
        const tls = readTlsDirectory(image)
        const at = (address: bigint | undefined): number => Number((address ?? 0n) - image.optionalHeader.ImageBase)
        expect([at(tls?.StartAddressOfRawData), at(tls?.EndAddressOfRawData), at(tls?.AddressOfIndex)]).toEqual([
          start,
          start + content.length,
          index,
        ])
        expect([tls?.AddressOfCallBacks, tls?.SizeOfZeroFill, tls?.Characteristics]).toEqual([0n, 0, (Math.log2(alignment) + 1) << 20])
        expect(Buffer.compare(image.read(start, content.length), content)).toBe(0)
        const rva = directory(image, 'TLS')?.rva ?? 0
        expect(readBaseRelocations(image)).toEqual([0, 8, 16].map((offset) => ({ rva: rva + offset, type: 10 })))
        // Loaders write the number.
        const holder = image.sections.find((s) => index >= s.rva && index + 4 <= s.rva + s.size)
        expect((holder?.characteristics ?? 0) >>> 31).toBe(1)
      }),
      { numRuns: 50 },
    )
  })
})

it('an alignment that a directory cannot say is a defect', () => {
  const of = (alignment: number) => () => threadLocalDll('x64', { content: Uint8Array.of(1), alignment })
  for (const alignment of [0, 3, 16384]) expect(of(alignment)).toThrow(expect.objectContaining({ code: 'DEFECT' }))
})
