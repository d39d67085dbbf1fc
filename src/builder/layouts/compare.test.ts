import { describe, expect, it } from 'vitest'
import type { Aggregate, Enumeration, Member, TypeRef } from '../../binary/types/model.ts'
import { compareDefinitions } from './compare.ts'
import { describeChange } from './words.ts'

const int: TypeRef = { kind: 'base', name: 'int', size: 4, encoding: 'signed' }
const unsigned: TypeRef = { kind: 'base', name: 'unsigned int', size: 4, encoding: 'unsigned' }
const float: TypeRef = { kind: 'base', name: 'float', size: 4, encoding: 'float' }
const char: TypeRef = { kind: 'base', name: 'char', size: 1, encoding: 'signed' }
const named = (key: string): TypeRef => ({ kind: 'named', key, size: 8 })
const pointer = (to: TypeRef): TypeRef => ({ kind: 'pointer', size: 8, to })
const calls = (...parameters: TypeRef[]): TypeRef => pointer({ kind: 'function', returns: int, parameters, variadic: false })

const member = (name: string | undefined, type: TypeRef, byte: number, bytes = 4): Member => ({
  name,
  type,
  bitOffset: byte * 8,
  bitSize: bytes * 8,
  bitField: false,
  inherited: false,
})
const bit = (name: string | undefined, at: number, bits = 1): Member => ({
  name,
  type: unsigned,
  bitOffset: at,
  bitSize: bits,
  bitField: true,
  inherited: false,
})
const struct = (size: number, ...members: Member[]): Aggregate => ({ kind: 'struct', key: 'struct s', size, members, virtuals: [] })
const union = (size: number, ...members: Member[]): Aggregate => ({ ...struct(size, ...members), kind: 'union' })
const enumeration = (...values: [string, number][]): Enumeration => ({ kind: 'enum', key: 'enum e', size: 4, values })

const changes = (before: Aggregate | Enumeration, after: Aggregate | Enumeration): string[] =>
  compareDefinitions(before, after)?.members.map(({ name, what }) => `${name} ${what}`) ?? []

describe('compareDefinitions', () => {
  it('finds nothing where nothing moved', () => {
    expect(
      compareDefinitions(struct(8, member('a', int, 0), member('b', int, 4)), struct(8, member('a', int, 0), member('b', int, 4))),
    ).toBeUndefined()
    expect(compareDefinitions(struct(4, bit('a', 0), bit(undefined, 1, 31)), struct(4, bit('a', 0)))).toBeUndefined()
  })

  it('tells what was added, removed, moved, resized and retyped', () => {
    const before = struct(24, member('a', int, 0), member('b', int, 4), member('c', int, 8), member('d', pointer(int), 16, 8))
    const after = struct(24, member('a', float, 0), member('c', int, 4), member('d', pointer(int), 8, 4), member('e', int, 20))
    expect(changes(before, after)).toEqual(['a retyped', 'b removed', 'c moved', 'd resized', 'e added'])
  })

  it('sees bits', () => {
    expect(changes(struct(4, bit('a', 0), bit('b', 1)), struct(4, bit('a', 0), bit('b', 2)))).toEqual(['b moved'])
    expect(changes(struct(4, bit('a', 0)), struct(4, bit('a', 0, 2), bit('b', 2)))).toEqual(['a resized', 'b added'])
    expect(changes(struct(4, bit('a', 0, 32)), struct(4, member('a', unsigned, 0)))).toEqual(['a resized'])
  })

  it('looks into unnamed members', () => {
    const inner = (...members: Member[]): TypeRef => ({ kind: 'unnamed', type: { ...struct(8, ...members), key: undefined } })
    const before = struct(
      16,
      member(undefined, inner(member('x', int, 0), member('y', int, 4)), 0, 8),
      member('u', inner(member('z', int, 0)), 8, 8),
    )
    const after = struct(
      16,
      member(undefined, inner(member('y', int, 0), member('x', int, 4)), 0, 8),
      member('u', inner(member('w', int, 0)), 8, 8),
    )
    expect(changes(before, after)).toEqual(['x moved', 'y moved', 'u retyped', 'u.z removed', 'u.w added'])
  })

  it('takes integers of one width for another sign, pointers to bytes for pointers to anything, and names for identity', () => {
    const one = (type: TypeRef, bytes = 8) => struct(8, member('a', type, 0, bytes))
    expect(changes(one(int, 4), one(unsigned, 4))).toEqual(['a resigned'])
    expect(changes(one(pointer({ kind: 'void' })), one(pointer(named('struct x'))))).toEqual([])
    expect(changes(one(pointer(char)), one(pointer(named('struct x'))))).toEqual([])
    expect(changes(one(pointer(named('struct y'))), one(pointer(named('struct x'))))).toEqual(['a retyped'])
    expect(changes(one(named('struct y')), one(named('struct x')))).toEqual(['a retyped'])
    expect(changes(one(calls(int)), one(calls(int, int)))).toEqual(['a retyped'])
    expect(changes(one(calls(int)), one(calls(unsigned)))).toEqual([])
    expect(changes(one(int, 4), one({ kind: 'named', key: 'enum e', size: 4 }, 4))).toEqual([])
  })

  it('tells a struct from a union and sees a size that changed alone', () => {
    expect(compareDefinitions(struct(4, member('a', int, 0)), union(4, member('a', int, 0)))).toBeDefined()
    expect(compareDefinitions(struct(8, member('a', int, 0)), struct(16, member('a', int, 0)))?.members).toEqual([])
  })

  it('compares the values of enumerations by name', () => {
    expect(changes(enumeration(['A', 0], ['B', 1]), enumeration(['A', 0], ['B', 1], ['C', 2]))).toEqual(['C added'])
    expect(changes(enumeration(['A', 0], ['B', 1]), enumeration(['A', 0], ['C', 1], ['B', 2]))).toEqual(['B revalued', 'C added'])
    expect(changes(enumeration(['A', 0], ['B', 1]), enumeration(['A', 0]))).toEqual(['B removed'])
    expect(compareDefinitions(enumeration(['A', 0]), { ...enumeration(['A', 0]), size: 8 })).toBeDefined()
  })

  it('sees virtual functions move', () => {
    const virtual = (...names: string[]): Aggregate => ({
      ...struct(8),
      kind: 'class',
      virtuals: names.map((name, slot) => ({ name, slot })),
    })
    expect(changes(virtual('a', 'b'), virtual('b', 'c'))).toEqual(['virtual a removed', 'virtual b moved', 'virtual c added'])
  })
})

describe('describeChange', () => {
  const words = (before: Aggregate | Enumeration, after: Aggregate | Enumeration): string => {
    const change = compareDefinitions(before, after)
    return change === undefined ? '' : describeChange(change)
  }

  it('puts into words what matters most, first', () => {
    const before = struct(8, member('a', int, 0), member('b', int, 4))
    const after = struct(12, member('n', int, 0), member('a', int, 4), member('b', int, 8))
    expect(words(before, after)).toBe(
      '8 bytes before, 12 after; n was added (int, 4 bytes at byte 0); a moved (byte 0 → byte 4); b moved (byte 4 → byte 8)',
    )
    expect(words(struct(4, bit('a', 0)), struct(4, bit('a', 0), bit('b', 9)))).toBe(
      '4 bytes as before; b was added (unsigned int, 1 bit at bit 1 of byte 1)',
    )
    expect(words(enumeration(['A', 0]), enumeration(['A', 1]))).toBe('4 bytes as before; A is 1 instead of 0')
  })

  it('names six members and counts the rest', () => {
    const many = Array.from({ length: 9 }, (_, i) => member(`m${i}`, int, 4 * i))
    expect(words(struct(0), struct(36, ...many))).toMatch(/; m5 was added \([^)]*\); and 3 more$/)
  })
})
