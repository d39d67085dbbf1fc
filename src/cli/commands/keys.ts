import { buildCommand, buildRouteMap } from '@stricli/core'
import { answer, type JsonFlag, jsonFlag } from '../answer.ts'
import type { Context } from '../context.ts'
import { path } from '../parameters.ts'

const actions = () => import('../actions/keys.ts')

const generate = buildCommand<JsonFlag, [file: string], Context>({
  docs: {
    brief: 'Makes a key pair to sign patch images with',
    fullDescription: [
      'Makes a key pair to sign patch images with: FILE (private, mode 0600) and FILE.pub.',
      '',
      'Example: hotpatch keys generate vendor.key',
    ].join('\n'),
  },
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ brief: 'Where the private key is written', parse: path, placeholder: 'FILE' }] },
  },
  async func(flags, file) {
    await answer(this, 'keys generate', flags, async () => (await actions()).generate(file))
  },
})

const trust = buildCommand<JsonFlag, [name: string, file: string], Context>({
  docs: {
    brief: 'Trusts a public key on this machine',
    fullDescription: ['Trusts a public key on this machine, under a name.', '', 'Example: hotpatch keys trust vendor vendor.key.pub'].join(
      '\n',
    ),
  },
  parameters: {
    flags: { json: jsonFlag },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'What the key is called here', parse: String, placeholder: 'NAME' },
        { brief: 'The public key', parse: path, placeholder: 'FILE' },
      ],
    },
  },
  async func(flags, name, file) {
    await answer(this, 'keys trust', flags, async () => (await actions()).trust(name, file))
  },
})

const distrust = buildCommand<JsonFlag, [name: string], Context>({
  docs: {
    brief: 'Ends the trust in a key',
    fullDescription: ['Ends the trust in a key, given by its name or id.', '', 'Example: hotpatch keys distrust vendor'].join('\n'),
  },
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ brief: 'Name or id', parse: String, placeholder: 'NAME' }] },
  },
  async func(flags, name) {
    await answer(this, 'keys distrust', flags, async () => (await actions()).distrust(name))
  },
})

const list = buildCommand<JsonFlag, [], Context>({
  docs: {
    brief: 'Lists the keys that this machine trusts',
    fullDescription: ['Lists the keys that this machine trusts.', '', 'Example: hotpatch keys list'].join('\n'),
  },
  parameters: { flags: { json: jsonFlag } },
  async func(flags) {
    await answer(this, 'keys list', flags, async () => (await actions()).list())
  },
})

export const keysRoutes = buildRouteMap<string, Context>({
  routes: { generate, trust, distrust, list },
  docs: { brief: 'Makes, trusts and lists keys that patch images are signed with' },
})
