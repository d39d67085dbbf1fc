import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { generateKey, readPrivateKey, readPublicKey, signWith, verifyWith } from './keys.ts'

const message = new TextEncoder().encode('a patch image')

describe('keys', () => {
  test('a signature verifies with the public half, and with nothing else', () => {
    const mine = generateKey()
    const other = generateKey()
    const signature = signWith(readPrivateKey(mine.privatePem, 'mine'), message)
    expect(signature.length).toBe(64)
    expect(verifyWith(readPublicKey(mine.publicPem, 'mine'), message, signature)).toBe(true)
    expect(verifyWith(readPublicKey(other.publicPem, 'other'), message, signature)).toBe(false)
    expect(
      verifyWith(
        readPublicKey(mine.publicPem, 'mine'),
        message.map((b) => b ^ 1),
        signature,
      ),
    ).toBe(false)
  })

  test('both halves have one id', () => {
    const pair = generateKey()
    expect(readPrivateKey(pair.privatePem, '').id).toBe(pair.id)
    expect(readPublicKey(pair.publicPem, '').id).toBe(pair.id)
  })

  test("the example of RFC 8032 (7.1, test 3) has that RFC's signature", () => {
    const seed = Buffer.from('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'hex')
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
    const pem = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
    expect(Buffer.from(signWith(readPrivateKey(pem, ''), Uint8Array.of(0xaf, 0x82))).toString('hex')).toBe(
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    )
  })

  test('openssl reads them, where it is installed', (context) => {
    const read = spawnSync('openssl', ['pkey', '-pubin', '-noout', '-text'], { input: generateKey().publicPem })
    if (read.error) context.skip('openssl is not installed')
    expect(read.stdout.toString()).toContain('ED25519 Public-Key')
  })

  test('what is no Ed25519 key is refused by name', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }) as string
    expect(() => readPublicKey(rsa, 'vendor.pub')).toThrow(/vendor.pub is a key of type rsa/)
    expect(() => readPublicKey('nonsense', 'vendor.pub')).toThrow(/vendor.pub is no PEM key/)
    expect(() => readPublicKey(generateKey().privatePem, 'vendor.pub')).toThrow(/private key where a public one belongs/)
    expect(() => readPrivateKey(generateKey().publicPem, 'vendor.key')).toThrow(/vendor.key is no PEM key/)
  })
})
