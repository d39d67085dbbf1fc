import { expect, test } from 'vitest'
import { PAGE } from '../../os/windows/definitions.ts'
import { accessOf } from './memory-map.ts'

const shown = (protection: number): string => {
  const { read, write, execute } = accessOf(protection)
  return `${read ? 'r' : '-'}${write ? 'w' : '-'}${execute ? 'x' : '-'}`
}

test('what each protection allows', () => {
  expect(Object.fromEntries(Object.entries(PAGE).map(([name, value]) => [name, shown(value)]))).toEqual({
    NOACCESS: '---',
    READONLY: 'r--',
    READWRITE: 'rw-',
    WRITECOPY: 'rw-',
    EXECUTE: '--x',
    EXECUTE_READ: 'r-x',
    EXECUTE_READWRITE: 'rwx',
    EXECUTE_WRITECOPY: 'rwx',
    GUARD: '---',
  })
})

test('a guard page is closed, PAGE_NOCACHE (0x200) changes nothing, an unknown protection is closed', () => {
  expect(shown(PAGE.READWRITE | PAGE.GUARD)).toBe('---')
  expect(shown(PAGE.READWRITE | 0x200)).toBe('rw-')
  expect(shown(0)).toBe('---')
})
