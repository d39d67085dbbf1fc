/** The manifest's bytes: UTF-8 JSON. */
import { HotpatchError } from '../errors.ts'
import { type Manifest, manifestSchema } from './manifest.ts'

/** In bytes. A manifest has some 200 for every function. */
export const MANIFEST_LIMIT = 4 * 1024 * 1024

const malformed = (what: string, cause?: unknown): HotpatchError => new HotpatchError('PATCH_MANIFEST_MALFORMED', what, { cause })

/** Throws PATCH_MANIFEST_MALFORMED, naming the first member that is wrong. */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MANIFEST_LIMIT) throw malformed(`the manifest has ${bytes.length} bytes, more than ${MANIFEST_LIMIT}`)
  return check(parseJson(bytes))
}

/** The same manifest gives the same bytes. Throws PATCH_MANIFEST_MALFORMED for one that could not be read again. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  // What the schema gives back has its members in the schema's order, whatever theirs was.
  const bytes = new TextEncoder().encode(JSON.stringify(check(manifest)))
  if (bytes.length > MANIFEST_LIMIT) throw malformed(`the manifest would have ${bytes.length} bytes, more than ${MANIFEST_LIMIT}`)
  return bytes
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw malformed('the manifest is no JSON in UTF-8', error)
  }
}

function check(value: unknown): Manifest {
  const result = manifestSchema().safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const path = (issue?.path ?? []).map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')
  throw malformed(`${path === '' ? 'the manifest' : path.replace(/^\./, '')}: ${issue?.message ?? 'is not valid'}`)
}
