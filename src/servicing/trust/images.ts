/** Signing patch images, and asking whether one may be trusted. */
import { HotpatchError } from '../../errors.ts'
import { readSignature, signedMessage, withSignature } from '../../patch/signature.ts'
import type { TrustedKey } from './keyring.ts'
import { type PrivateKey, signWith, verifyWith } from './keys.ts'

export function signImage(file: Uint8Array, key: PrivateKey): Uint8Array {
  return withSignature(file, { keyId: key.id, signature: signWith(key, signedMessage(file)) })
}

/** The trusted key that signed the image. Throws SIGNATURE_MISSING, SIGNATURE_UNTRUSTED, SIGNATURE_INVALID. */
export function requireTrusted(file: Uint8Array, keys: readonly TrustedKey[], keyFolder: string): TrustedKey {
  const signature = readSignature(file)
  if (signature === undefined) throw new HotpatchError('SIGNATURE_MISSING', 'nobody has signed the patch image')
  const key = keys.find(({ id }) => id === signature.keyId)
  if (key === undefined)
    throw new HotpatchError(
      'SIGNATURE_UNTRUSTED',
      `it is signed with key ${signature.keyId}, which is none of the ${keys.length} in ${keyFolder}`,
      {
        facts: { keyId: signature.keyId, keyFolder },
      },
    )
  if (!verifyWith(key, signedMessage(file), signature.signature))
    throw new HotpatchError('SIGNATURE_INVALID', `the image is not what key ${key.name} (${key.id}) signed`, { facts: { keyId: key.id } })
  return key
}
