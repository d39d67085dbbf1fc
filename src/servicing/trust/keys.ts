/**
 * Keys: Ed25519 (RFC 8032), kept as PEM files (PKCS #8 for the private, SPKI for the public half: what openssl reads too). A key is named
 * by its id: the SHA-256 of the 32 bytes of the public key, in hexadecimal.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { HotpatchError } from '../../errors.ts'

export interface PublicKey {
  /** 64 hexadecimal digits. */
  readonly id: string
  readonly key: KeyObject
}

export interface PrivateKey extends PublicKey {
  readonly secret: KeyObject
}

/** A fresh pair as PEM texts. */
export function generateKey(): { id: string; privatePem: string; publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return {
    id: keyId(publicKey),
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  }
}

/** Throws KEY_INVALID naming `where`. */
export const readPublicKey = (pem: string, where: string): PublicKey => {
  const key = parse(() => createPublicKey(onlyPublic(pem, where)), where)
  return { id: keyId(key), key }
}

/** Throws KEY_INVALID naming `where`. */
export const readPrivateKey = (pem: string, where: string): PrivateKey => {
  const secret = parse(() => createPrivateKey(pem), where)
  const key = createPublicKey(secret)
  return { id: keyId(key), key, secret }
}

/** 64 bytes. */
export const signWith = ({ secret }: PrivateKey, message: Uint8Array): Uint8Array => sign(null, message, secret)

export const verifyWith = ({ key }: PublicKey, message: Uint8Array, signature: Uint8Array): boolean => verify(null, message, key, signature)

/** createPublicKey would take the public half of a private key: where a public key belongs, a private one is a mistake worth saying. */
function onlyPublic(pem: string, where: string): string {
  if (pem.includes('PRIVATE KEY')) throw new HotpatchError('KEY_INVALID', `${where} holds a private key where a public one belongs`)
  return pem
}

function parse(make: () => KeyObject, where: string): KeyObject {
  let key: KeyObject
  try {
    key = make()
  } catch (cause) {
    if (cause instanceof HotpatchError) throw cause
    throw new HotpatchError('KEY_INVALID', `${where} is no PEM key: ${(cause as Error).message}`, { cause })
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new HotpatchError('KEY_INVALID', `${where} is a key of type ${key.asymmetricKeyType}, Ed25519 is needed`)
  return key
}

function keyId(key: KeyObject): string {
  // The SPKI encoding of Ed25519 ends with the 32 bytes of the key (RFC 8410, section 4).
  const spki = key.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki.subarray(-32)).digest('hex')
}
