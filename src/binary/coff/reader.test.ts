import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HotpatchError } from '../../errors.ts'
import { viewOf } from '../struct.ts'
import {
  IMAGE_FILE_MACHINE,
  IMAGE_SCN,
  ImageFileHeader,
  ImageRelocation,
  ImageSectionHeader,
  relocationName,
  sectionAlignment,
} from './definitions.ts'
import { type CoffObject, isCoffObject, readCoffObject, sectionName } from './reader.ts'
import { type CoffSymbol, isFunctionSymbol } from './symbols.ts'
import { type Node, nameOf, nodeOf, nodesOf, numberOf, parseReadobj, textOf } from './testing/readobj.ts'

const FIXTURES = join(import.meta.dirname, 'fixtures')
const objects = readdirSync(FIXTURES).filter((name) => /\.(o|obj)$/.test(name) && !name.includes('import'))
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(FIXTURES, name)))
const goldenOf = (name: string): Node => parseReadobj(readFileSync(join(FIXTURES, `${name}.readobj`), 'utf8'))

function objectOf(name: string): CoffObject {
  const object = readCoffObject(bytesOf(name))
  if (object.kind !== 'object') throw new Error(`${name} is no object`)
  return object
}

/** As llvm-readobj prints a symbol's auxiliary record. */
function auxOf(node: Node): Record<string, unknown> | undefined {
  const [aux] = node.children
  switch (aux?.name) {
    case 'AuxSectionDef': {
      // readobj prints the section's own number where the field is 0.
      const associative = textOf(aux, 'Selection').startsWith('Associative')
      return {
        kind: 'section',
        length: numberOf(aux, 'Length'),
        relocations: numberOf(aux, 'RelocationCount'),
        checkSum: numberOf(aux, 'Checksum'),
        selection: numberOf(aux, 'Selection'),
        ...(associative ? { associated: Number(/\((\d+)\)$/.exec(textOf(aux, 'AssocSection'))?.[1]) } : {}),
      }
    }
    case 'AuxWeakExternal':
      return { kind: 'weak', tagIndex: Number(/\((\d+)\)$/.exec(textOf(aux, 'Linked'))?.[1]), search: numberOf(aux, 'Search') }
    case 'AuxFileRecord':
      return { kind: 'file', name: textOf(aux, 'FileName') }
    case 'AuxFunctionDef':
      return { kind: 'function', totalSize: numberOf(aux, 'TotalSize') }
    default:
      return undefined
  }
}

describe.each(objects)('%s as llvm-readobj reads it', (name) => {
  const object = objectOf(name)
  const golden = goldenOf(name)

  it('has the header', () => {
    const header = nodeOf(golden, 'ImageFileHeader')
    expect(object.machine).toBe(numberOf(header, 'Machine'))
    expect(object.sections.length).toBe(numberOf(header, 'SectionCount'))
    expect(object.bigobj).toBe(name.includes('bigobj'))
  })

  it('has the sections', () => {
    const ours = object.sections.map((s) => [s.number, s.name, s.size, s.relocations.length, s.characteristics])
    const theirs = nodesOf(golden, 'Section')
      .filter((s) => s.values.has('Number'))
      .map((s) => [
        numberOf(s, 'Number'),
        nameOf(textOf(s, 'Name')),
        numberOf(s, 'RawDataSize'),
        numberOf(s, 'RelocationCount'),
        numberOf(s, 'Characteristics'),
      ])
    expect(ours).toEqual(theirs)
  })

  it('has the relocations', () => {
    const names = new Map(object.symbols.map((symbol) => [symbol.index, symbol.name]))
    const ours = object.sections.flatMap((s) =>
      s.relocations.map(
        (r) =>
          `${s.number} 0x${r.offset.toString(16).toUpperCase()} ${relocationName(object.machine, r.type)} ${names.get(r.symbolIndex)} (${r.symbolIndex})`,
      ),
    )
    const theirs = nodeOf(golden, 'Relocations').children.flatMap((s) => {
      const number = /^Section \((\d+)\)/.exec(s.name)?.[1]
      return s.lines.map((line) => `${number} ${line}`)
    })
    expect(ours).toEqual(theirs)
    expect(ours.length).toBeGreaterThan(10)
  })

  it('has the symbols with their auxiliary records', () => {
    const toPlain = (s: CoffSymbol): unknown[] => [
      s.name,
      s.value,
      s.sectionNumber,
      isFunctionSymbol(s),
      s.storageClass,
      s.aux === undefined,
    ]
    const theirs = nodesOf(nodeOf(golden, 'Symbols'), 'Symbol')
    expect(object.symbols.map(toPlain)).toEqual(
      theirs.map((s) => [
        textOf(s, 'Name'),
        Number(textOf(s, 'Value')),
        Number(/\((-?\d+)\)$/.exec(textOf(s, 'Section'))?.[1]),
        numberOf(s, 'ComplexType') === 2,
        numberOf(s, 'StorageClass'),
        auxOf(s) === undefined,
      ]),
    )
    for (const [i, symbol] of object.symbols.entries()) {
      const aux = auxOf(theirs[i] as Node)
      // Gas gives static functions an empty record, which llvm-readobj takes for a section's.
      if (aux !== undefined && symbol.aux?.kind !== 'function') expect(symbol.aux, symbol.name).toMatchObject(aux)
    }
  })
})

describe('other kinds of COFF', () => {
  it('reads a short import', () => {
    expect(readCoffObject(bytesOf('llvm19-import.obj'))).toMatchObject({
      kind: 'import',
      machine: IMAGE_FILE_MACHINE.AMD64,
      symbol: 'other',
      library: 'other.dll',
      type: 'code',
      nameType: 1,
    })
  })

  it('reads the same from an object and from its /bigobj form', () => {
    const plain = objectOf('mingw-gcc12.o')
    const big = objectOf('mingw-gcc12-bigobj.o')
    const withoutBig = ({ sections, symbols }: CoffObject) => ({
      sections,
      symbols: symbols.map((s) => (s.aux?.kind === 'function' ? { ...s, aux: 'of a function' } : s)),
    })
    expect(withoutBig(big)).toEqual(withoutBig(plain))
  })

  it('counts relocations beyond 65534 in the first record', () => {
    const count = 0x10005
    const at = ImageFileHeader.size + ImageSectionHeader.size
    const file = new Uint8Array(at + (count + 1) * ImageRelocation.size)
    const view = viewOf(file)
    ImageFileHeader.write(view, 0, {
      Machine: IMAGE_FILE_MACHINE.AMD64,
      NumberOfSections: 1,
      TimeDateStamp: 0,
      PointerToSymbolTable: 0,
      NumberOfSymbols: 0,
      SizeOfOptionalHeader: 0,
      Characteristics: 0,
    })
    ImageSectionHeader.write(view, ImageFileHeader.size, {
      Name: '.data',
      VirtualSize: 0,
      VirtualAddress: 0,
      SizeOfRawData: 0,
      PointerToRawData: 0,
      PointerToRelocations: at,
      PointerToLinenumbers: 0,
      NumberOfRelocations: 0xffff,
      NumberOfLinenumbers: 0,
      Characteristics: IMAGE_SCN.LNK_NRELOC_OVFL,
    })
    for (let i = 0; i <= count; i++)
      ImageRelocation.write(view, at + i * ImageRelocation.size, { VirtualAddress: i === 0 ? count + 1 : i, SymbolTableIndex: 7, Type: 4 })
    const object = readCoffObject(file) as CoffObject
    expect(object.sections[0]?.relocations.length).toBe(count)
    expect(object.sections[0]?.relocations[0]).toEqual({ offset: 1, symbolIndex: 7, type: 4 })
  })

  it('reads section names from the string table in both forms', () => {
    const strings = Uint8Array.from(Buffer.from('\0\0\0\0.text$function\0'))
    expect(sectionName('/4', strings)).toBe('.text$function')
    expect(sectionName('//AAAAAE', strings)).toBe('.text$function')
    expect(sectionName('.text', strings)).toBe('.text')
    expect(() => sectionName('/x', strings)).toThrow(HotpatchError)
    expect(() => sectionName('/400', strings)).toThrow(HotpatchError)
  })

  it('knows alignments', () => {
    expect([0x00100000, 0x00500000, 0x00e00000, 0].map(sectionAlignment)).toEqual([1, 16, 8192, 16])
  })

  it('is not taken for other files', () => {
    expect(isCoffObject(Uint8Array.from(Buffer.from('\x7fELF')))).toBe(false)
    expect(isCoffObject(new Uint8Array(64))).toBe(false)
    expect(() => readCoffObject(new Uint8Array(64))).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }))
  })
})

describe('damaged objects', () => {
  it('read or fail with a code', () => {
    const originals = [...objects, 'llvm19-import.obj'].map(bytesOf)
    const change = fc.record({ at: fc.nat(), value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), wide: fc.boolean() })
    fc.assert(
      fc.property(
        fc.nat(originals.length - 1),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.option(fc.nat()),
        (which, changes, cut) => {
          const original = originals[which] as Uint8Array
          const data = original.slice(0, cut === null ? original.length : cut % original.length)
          // Half of the changes hit the headers, where they tell.
          for (const { at, value, wide } of changes)
            data.fill(value, at % (at % 2 === 0 ? 200 : data.length || 1), (at % (at % 2 === 0 ? 200 : data.length || 1)) + (wide ? 4 : 1))
          try {
            readCoffObject(data)
          } catch (error) {
            expect(error).toBeInstanceOf(HotpatchError)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })
})
