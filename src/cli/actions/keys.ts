import { readInput, writeNew } from '../../files.ts'
import { distrustKey, keyFolder, type TrustedKey, trustedKeys, trustKey } from '../../servicing/trust/keyring.ts'
import { generateKey } from '../../servicing/trust/keys.ts'
import { type Answer, done } from '../answer.ts'
import { dim, good, strong, table } from '../words.ts'

export function generate(file: string): Answer {
  const { id, privatePem, publicPem } = generateKey()
  writeNew(file, privatePem, 0o600)
  writeNew(`${file}.pub`, publicPem, 0o644)
  return done('generated', { id, privateFile: file, publicFile: `${file}.pub` }, [
    `${good('generated')} ${strong(file)} (keep it secret) and ${strong(`${file}.pub`)}`,
    dim(`  id ${id}`),
  ])
}

export function trust(name: string, file: string): Answer {
  const key = trustKey(name, Buffer.from(readInput(file)).toString('utf8'))
  return done('trusted', shown(key), [`${good('trusted')} ${strong(name)}: ${key.file}`, dim(`  id ${key.id}`)])
}

export function distrust(nameOrId: string): Answer {
  const key = distrustKey(nameOrId)
  return done('distrusted', shown(key), [`${strong(key.name)} is no longer trusted`, dim(`  id ${key.id}`)])
}

export function list(): Answer {
  const folder = keyFolder()
  const keys = trustedKeys(folder).map(shown)
  return done(keys.length === 0 ? 'no-keys' : 'keys', { folder, keys }, [
    ...(keys.length === 0
      ? ['No key is trusted.']
      : table(
          [{ title: 'name' }, { title: 'id' }],
          keys.map(({ name, id }) => [strong(name), id]),
        )),
    dim(`  ${folder}`),
  ])
}

const shown = ({ name, id, file }: TrustedKey) => ({ name, id, file })
