import { expect, test } from 'vitest'
import { describeProtection } from './open.ts'

test.each([
  [0x00, undefined],
  // As published for lsass.exe with LSA protection, MsMpEng.exe, and csrss.exe.
  [0x41, 'ProtectedLight, signer Lsa'],
  [0x31, 'ProtectedLight, signer Antimalware'],
  [0x61, 'ProtectedLight, signer WinTcb'],
  [0x72, 'Protected, signer WinSystem'],
  [0x08, undefined],
  [0xf7, 'type 7, signer 15'],
])('protection level %i in words', (level, words) => {
  expect(describeProtection(level)).toBe(words)
})
