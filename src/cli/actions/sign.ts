import { readInput, writeOutput } from '../../files.ts'
import { readPatchImage } from '../../patch/read.ts'
import { signImage } from '../../servicing/trust/images.ts'
import { readPrivateKey } from '../../servicing/trust/keys.ts'
import { requireSafePath } from '../../servicing/trust/ownership.ts'
import { type Answer, done } from '../answer.ts'
import { dim, good, strong } from '../words.ts'

/** What is signed is what was read and validated: a signature under a file that `apply` would refuse helps nobody. */
export function sign(patch: string, keyFile: string, out: string): Answer {
  const file = readInput(patch)
  const { manifest, fileSha256 } = readPatchImage(file)
  const pem = Buffer.from(readInput(keyFile)).toString('utf8')
  requireSafePath(keyFile, 'private key')
  const key = readPrivateKey(pem, keyFile)
  writeOutput(out, signImage(file, key))
  return done('signed', { file: out, id: manifest.id, keyId: key.id, imageSha256: Buffer.from(fileSha256).toString('hex') }, [
    `${good('signed')} ${strong(out)}: patch ${manifest.id}, sequence ${manifest.sequence}`,
    dim(`  key ${key.id}`),
  ])
}
