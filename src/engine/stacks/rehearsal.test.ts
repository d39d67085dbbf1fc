import { expect, test } from 'vitest'
import { architectureOf } from '../../machine/architectures.ts'
import { saying } from '../../machine/x64/testing/saying.ts'
import { rehearsedTables } from './rehearsal.ts'

test.each(['x64', 'arm64'] as const)(
  'on %s every kind of table that is rehearsed with says the same of the same place, and something',
  (machine) => {
    const [section, byNeed, whole] = rehearsedTables(architectureOf(machine).unwinding)
    if (section === undefined || byNeed === undefined || whole === undefined) throw new Error('there are three')
    for (const rva of [0x1000, 0x1003, 0x1004, 0x103f, 0x1040, 0x2000, 0x41ff]) {
      const said = saying(whole, rva)
      expect(said).toBeDefined()
      expect(saying(section, rva)).toEqual(said)
      expect(saying(byNeed, rva)).toEqual(said)
    }
    expect(saying(section, 0x4200)).toBeUndefined()
  },
)
