/** One text for all definitions of equal layout. What is shared is looked at once, so damaged data cannot make it long. */
import { createHash } from 'node:crypto'
import type { TypeDefinition } from './model.ts'

const known = new WeakMap<object, string>()

export function fingerprintOf(definition: TypeDefinition | object): string {
  let print = known.get(definition)
  if (print === undefined) {
    const inner = (key: string, value: unknown) =>
      key !== '' && typeof value === 'object' && value !== null ? fingerprintOf(value) : value
    print = createHash('sha256').update(JSON.stringify(definition, inner)).digest('base64').slice(0, 24)
    known.set(definition, print)
  }
  return print
}
