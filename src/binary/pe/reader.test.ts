import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { isFunctionSymbol } from '../coff/symbols.ts'
import { type Node, nameOf, nodeOf, nodesOf, numberOf, parseReadobj, textOf } from '../coff/testing/readobj.ts'
import { viewOf } from '../struct.ts'
import { peChecksum } from './checksum.ts'
import { IMAGE_REL_BASED, ImageLoadConfigDirectory64, ImageOptionalHeader64 } from './definitions.ts'
import {
  readBaseRelocations,
  readCodeView,
  readDebugDirectory,
  readExports,
  readImports,
  readLoadConfig,
  readRuntimeFunctions,
} from './directories.ts'
import { readPeIdentity, textRanges } from './identity.ts'
import { isPeImage, type PeImage, readImageSymbols, readPe } from './reader.ts'
import { mapped, readMapped } from './testing/mapped.ts'
import { readUnwindInfo, UNWIND_REGISTERS, type UnwindCode } from './unwind-x64.ts'

const FIXTURES = join(import.meta.dirname, 'fixtures')
const images = readdirSync(FIXTURES).filter((name) => name.endsWith('.dll'))
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(FIXTURES, name)))
const goldenOf = (name: string): Node => parseReadobj(readFileSync(join(FIXTURES, `${name}.readobj`), 'utf8'))

/** As llvm-readobj prints it. */
function printed(code: UnwindCode, frameOffset: number): string {
  const hex = (value: number): string => `0x${value.toString(16).toUpperCase()}`
  const general = (n: number): string => (UNWIND_REGISTERS[n] ?? '').toUpperCase()
  switch (code.op) {
    case 'push':
      return `PUSH_NONVOL reg=${general(code.register)}`
    case 'alloc':
      return `${code.size <= 128 ? 'ALLOC_SMALL' : 'ALLOC_LARGE'} size=${code.size}`
    case 'set-frame':
      return `SET_FPREG reg=RBP, offset=${hex(frameOffset)}`
    case 'save':
      return `SAVE_NONVOL${code.offset < 0x80000 ? '' : '_FAR'} reg=${general(code.register)}, offset=${hex(code.offset)}`
    case 'save-xmm':
      return `SAVE_XMM128${code.offset < 0x100000 ? '' : '_FAR'} reg=XMM${code.register}, offset=${hex(code.offset)}`
    case 'machine-frame':
      return `PUSH_MACHFRAME errcode=${code.errorCode ? 'yes' : 'no'}`
    case 'epilog':
      return 'EPILOG'
  }
}

/** `name (0x180001000)` or `(0x180001000)`: the address. */
const addressOf = (node: Node, key: string): number => Number(/\((0x[0-9A-F]+)\)$/.exec(textOf(node, key))?.[1])

describe.each(images)('%s as llvm-readobj reads it', (name) => {
  const file = bytesOf(name)
  const image = readPe(file)
  const golden = goldenOf(name)
  const base = Number(image.optionalHeader.ImageBase)

  it('has the headers', () => {
    const header = nodeOf(golden, 'ImageFileHeader')
    expect(image.fileHeader).toMatchObject({
      Machine: numberOf(header, 'Machine'),
      NumberOfSections: numberOf(header, 'SectionCount'),
      TimeDateStamp: numberOf(header, 'TimeDateStamp'),
      PointerToSymbolTable: numberOf(header, 'PointerToSymbolTable'),
      SizeOfOptionalHeader: numberOf(header, 'OptionalHeaderSize'),
      Characteristics: numberOf(header, 'Characteristics'),
    })
    const optional = nodeOf(golden, 'ImageOptionalHeader')
    const shared = Object.keys(ImageOptionalHeader64.offsets).filter((key) => optional.values.has(key))
    expect(shared.length).toBeGreaterThan(20)
    for (const key of shared)
      expect(Number(image.optionalHeader[key as keyof typeof image.optionalHeader]), key).toBe(numberOf(optional, key))
    expect(image.optionalHeader.DllCharacteristics).toBe(numberOf(optional, 'Characteristics'))
  })

  it('has the data directories', () => {
    const listed = [...nodeOf(golden, 'DataDirectory').values].filter(([key]) => /RVA$|Size$/.test(key))
    expect(image.directories.flatMap((d) => [d.VirtualAddress, d.Size])).toEqual(listed.slice(0, 32).map(([, value]) => Number(value)))
  })

  it('has the sections', () => {
    expect(image.sections.map((s) => [s.name, s.rva, s.size, s.characteristics])).toEqual(
      nodesOf(golden, 'Section').map((s) => [
        nameOf(textOf(s, 'Name')),
        numberOf(s, 'VirtualAddress'),
        numberOf(s, 'VirtualSize'),
        numberOf(s, 'Characteristics'),
      ]),
    )
  })

  it('has the exports', () => {
    const ours = (readExports(image)?.exports ?? []).map((e) => [e.ordinal, e.name ?? '', e.rva])
    expect(ours).toEqual(nodesOf(golden, 'Export').map((e) => [numberOf(e, 'Ordinal'), textOf(e, 'Name'), numberOf(e, 'RVA')]))
    expect(ours.length).toBeGreaterThan(6)
  })

  it('has the imports, those by ordinal and delayed ones too', () => {
    const direct = golden.children.filter((child) => child.name === 'Import')
    const delayed = golden.children.filter((child) => child.name === 'DelayImport')
    const expected = [...direct, ...delayed].flatMap((library) => {
      const slots = numberOf(library, library.name === 'Import' ? 'ImportAddressTableRVA' : 'ImportAddressTable')
      const lines = (library.name === 'Import' ? [library] : library.children).flatMap((n) =>
        n.lines.filter((l) => l.startsWith('Symbol:')),
      )
      return lines.map((line, i) => {
        const [, symbol = '', number] = /^Symbol: (.*) ?\((\d+)\)$/.exec(line) ?? []
        return {
          library: textOf(library, 'Name'),
          name: symbol.trim() === '' ? undefined : symbol.trim(),
          ordinal: symbol.trim() === '' ? Number(number) : undefined,
          slotRva: slots + i * 8,
          delayed: library.name !== 'Import',
        }
      })
    })
    expect(readImports(image)).toEqual(expected)
    expect(expected).toContainEqual(expect.objectContaining({ library: 'numbers.dll', ordinal: 12 }))
    expect(expected).toContainEqual(expect.objectContaining({ name: 'imported', delayed: name === 'lld19-msvc.dll' }))
  })

  it('has the base relocations', () => {
    const expected = nodeOf(golden, 'BaseReloc').children.filter((entry) => textOf(entry, 'Type') === 'DIR64')
    expect(readBaseRelocations(image)).toEqual(expected.map((entry) => ({ rva: numberOf(entry, 'Address'), type: IMAGE_REL_BASED.DIR64 })))
  })

  it('has the runtime functions with their unwind information', () => {
    const expected = nodesOf(golden, 'RuntimeFunction')
    const records = readRuntimeFunctions(image)
    expect(records.map((r) => [r.BeginAddress, r.EndAddress, r.UnwindData])).toEqual(
      expected.map((f) => ['StartAddress', 'EndAddress', 'UnwindInfoAddress'].map((key) => addressOf(f, key) - base)),
    )
    for (const [i, record] of records.entries()) {
      const info = readUnwindInfo(image.read, record.UnwindData)
      const node = nodeOf(expected[i] as Node, 'UnwindInfo')
      expect(info.prologSize).toBe(numberOf(node, 'PrologSize'))
      expect(info.flags).toBe(Number(node.values.get('Flags')))
      expect(info.codes.map((code) => printed(code, info.frameOffset))).toEqual(
        nodeOf(node, 'UnwindCodes').lines.map((line) => line.replace(/^0x[0-9A-F]+: /, '')),
      )
      const handler = node.values.has('Handler') ? addressOf(node, 'Handler') - base : undefined
      expect(info.handler?.rva).toBe(handler)
      const chained = node.children.find((child) => child.name === 'Chained')
      expect(info.chained?.BeginAddress).toBe(chained === undefined ? undefined : addressOf(chained, 'StartAddress') - base)
    }
    const withEveryCode = records.map((r) => readUnwindInfo(image.read, r.UnwindData)).find((info) => info.codes.length === 10)
    expect(new Set(withEveryCode?.codes.map((code) => code.op))).toEqual(new Set(['push', 'alloc', 'set-frame', 'save', 'save-xmm']))
  })

  it('has the debug directory and the PDB that belongs to it', () => {
    const entries = nodesOf(golden, 'DebugEntry')
    expect(readDebugDirectory(image).map((e) => [e.Type, e.AddressOfRawData])).toEqual(
      entries.map((e) => [numberOf(e, 'Type'), numberOf(e, 'AddressOfRawData')]),
    )
    const [pdb] = nodesOf(golden, 'PDBInfo')
    expect(readCodeView(image)).toEqual(
      pdb === undefined
        ? undefined
        : {
            guid: textOf(pdb, 'PDBGUID').replace(/[{}-]/g, ''),
            age: numberOf(pdb, 'PDBAge'),
            pdbPath: textOf(pdb, 'PDBFileName'),
          },
    )
  })

  it('has the load configuration', () => {
    const [expected] = nodesOf(golden, 'LoadConfig')
    const config = readLoadConfig(image)
    expect(config === undefined).toBe(expected === undefined)
    if (config === undefined || expected === undefined) return
    const shared = Object.keys(ImageLoadConfigDirectory64.offsets).filter((key) => expected.values.has(key))
    expect(shared.length).toBeGreaterThan(15)
    for (const key of shared) expect(Number(config[key as keyof typeof config]), key).toBe(numberOf(expected, key))
    expect(config.HotPatchTableOffset).toBe(0)
  })

  it('has the COFF symbols', () => {
    expect(readImageSymbols(image).map((s) => [s.name, s.value, s.sectionNumber, isFunctionSymbol(s), s.storageClass])).toEqual(
      nodesOf(nodeOf(golden, 'Symbols'), 'Symbol').map((s) => [
        textOf(s, 'Name'),
        Number(textOf(s, 'Value')),
        Number(/\((-?\d+)\)$/.exec(textOf(s, 'Section'))?.[1]),
        numberOf(s, 'ComplexType') === 2,
        numberOf(s, 'StorageClass'),
      ]),
    )
  })

  it('reads the same as it is mapped', () => {
    const memory = readMapped(mapped(file))
    expect(readExports(memory)).toEqual(readExports(image))
    expect(readImports(memory)).toEqual(readImports(image))
    expect(readBaseRelocations(memory)).toEqual(readBaseRelocations(image))
    expect(readRuntimeFunctions(memory)).toEqual(readRuntimeFunctions(image))
    expect(readLoadConfig(memory)).toEqual(readLoadConfig(image))
    expect(readPeIdentity(memory)).toEqual(readPeIdentity(image))
    expect(readImageSymbols(memory)).toEqual([])
  })

  it('has the checksum that its linker wrote, if any', () => {
    const at = image.ntOffset + 24 + ImageOptionalHeader64.offsets.CheckSum
    if (image.optionalHeader.CheckSum !== 0) expect(peChecksum(file, at)).toBe(image.optionalHeader.CheckSum)
    expect(name.startsWith('ld-') ? image.optionalHeader.CheckSum : 1).not.toBe(0)
  })
})

describe('the load configuration directory', () => {
  it('has its fields where winnt.h has them', () => {
    const { offsets, size } = ImageLoadConfigDirectory64
    expect(offsets).toMatchObject({
      SecurityCookie: 0x58,
      GuardCFCheckFunctionPointer: 0x70,
      CodeIntegrity: 0x94,
      DynamicValueRelocTableOffset: 0xe0,
      HotPatchTableOffset: 0xf0,
      EnclaveConfigurationPointer: 0xf8,
      GuardMemcpyFunctionPointer: 0x138,
    })
    expect(size).toBe(0x148)
  })
})

describe('identity', () => {
  const file = bytesOf('lld19-msvc.dll')

  it('does not depend on where the image is loaded, and tells one text from another', () => {
    const memory = mapped(file)
    const view = viewOf(memory)
    for (const { rva } of readBaseRelocations(readPe(file))) view.setBigUint64(rva, view.getBigUint64(rva, true) + 0x12340000n, true)
    const headers = readPe(file)
    view.setBigUint64(headers.ntOffset + 24 + ImageOptionalHeader64.offsets.ImageBase, headers.optionalHeader.ImageBase + 0x12340000n, true)
    expect(readPeIdentity(readMapped(memory))).toEqual(readPeIdentity(headers))

    const [text] = textRanges(headers)
    memory[(text?.rva ?? 0) + 3] = (memory[(text?.rva ?? 0) + 3] ?? 0) ^ 1
    expect(readPeIdentity(readMapped(memory)).textSha256).not.toEqual(readPeIdentity(headers).textSha256)
  })

  it('has the GUID and age as symbol servers write them', () => {
    expect(readPeIdentity(readPe(file)).buildId).toMatch(/^[0-9A-F]{32}1$/)
  })
})

describe('images that are not read', () => {
  const file = bytesOf('lld19-msvc.dll')
  const { ntOffset } = readPe(file)
  const changed = (at: number, value: number): Uint8Array => {
    const copy = file.slice()
    viewOf(copy).setUint16(at, value, true)
    return copy
  }

  it.each([
    ['PE32', changed(ntOffset + 24, 0x10b), 'MACHINE_UNSUPPORTED'],
    ['another processor', changed(ntOffset + 4, 0x1c4), 'MACHINE_UNSUPPORTED'],
    ['an unknown magic', changed(ntOffset + 24, 0x107), 'MALFORMED'],
    ['no signature', changed(ntOffset, 0), 'FORMAT_UNKNOWN'],
    ['no MZ', changed(0, 0), 'FORMAT_UNKNOWN'],
    ['a cut off header', file.slice(0, ntOffset + 40), 'TRUNCATED'],
  ])('%s', (_what, data, code) => {
    expect(() => readPe(data)).toThrow(expect.objectContaining({ code }))
  })

  it('are told by their beginning', () => {
    expect(isPeImage(file)).toBe(true)
    expect(isPeImage(file.slice(0, 64))).toBe(false)
    expect(isPeImage(Uint8Array.from(Buffer.from('MZ')))).toBe(false)
  })
})

/** Reads all that there is. */
function readEverything(image: PeImage): void {
  readExports(image)
  readImports(image)
  readBaseRelocations(image)
  readLoadConfig(image)
  readPeIdentity(image)
  readImageSymbols(image)
  for (const record of readRuntimeFunctions(image).slice(0, 100)) readUnwindInfo(image.read, record.UnwindData)
}

describe('damaged images', () => {
  const originals = images.map(bytesOf)
  const change = fc.record({
    at: fc.nat(),
    inHeaders: fc.boolean(),
    value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
    width: fc.constantFrom(1, 4),
  })

  const damage = (
    original: Uint8Array,
    changes: readonly { at: number; inHeaders: boolean; value: number; width: number }[],
  ): Uint8Array => {
    const data = original.slice()
    for (const { at, inHeaders, value, width } of changes) {
      const place = at % (inHeaders ? 0x300 : data.length)
      data.fill(value, place, place + width)
    }
    return data
  }

  it('read or fail with a code, from a file and from memory', () => {
    fc.assert(
      fc.property(
        fc.nat(images.length - 1),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.option(fc.nat()),
        (which, changes, cut) => {
          const damaged = damage(originals[which] as Uint8Array, changes)
          const data = cut === null ? damaged : damaged.slice(0, cut % damaged.length)
          try {
            readEverything(readPe(data))
          } catch (error) {
            expect(error).toBeInstanceOf(HotpatchError)
          }
          const memory = damage(mapped(originals[which] as Uint8Array), changes)
          try {
            readEverything(readMapped(memory))
          } catch (error) {
            // What reading memory throws is passed on.
            if ((error as Error).message.startsWith('unmapped')) return
            expect(error).toBeInstanceOf(HotpatchError)
          }
        },
      ),
      { numRuns: 1000 },
    )
  })
})
