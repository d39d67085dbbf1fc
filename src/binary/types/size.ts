import type { TypeRef } from './model.ts'

/** Bytes that a thing of the type takes; undefined: not known. */
export function sizeOfType(type: TypeRef, ofKey: (key: string) => number | undefined): number | undefined {
  switch (type.kind) {
    case 'base':
    case 'pointer':
    case 'other':
      return type.size
    case 'named':
      return type.size ?? ofKey(type.key)
    case 'unnamed':
      return type.type.size
    case 'array': {
      const one = sizeOfType(type.of, ofKey)
      return one === undefined ? undefined : one * (type.count ?? 0)
    }
    default:
      return undefined
  }
}
