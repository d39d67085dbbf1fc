/** References to types in C's words. */
import type { FunctionType, TypeRef } from '../../binary/types/model.ts'

/** In C's words, as far as a line has room. */
export function describe(type: TypeRef): string {
  switch (type.kind) {
    case 'void':
      return 'void'
    case 'base':
    case 'other':
      return type.name
    case 'pointer':
      return type.to.kind === 'function' ? `${describe(type.to.returns)} (*)(${parametersOf(type.to)})` : `${describe(type.to)} *`
    case 'array':
      return `${describe(type.of)}[${type.count ?? ''}]`
    case 'function':
      return `${describe(type.returns)} (${parametersOf(type)})`
    case 'named':
      return type.key
    case 'unnamed':
      return `${type.type.kind} {…}`
  }
}

const parametersOf = ({ parameters, variadic }: FunctionType): string =>
  [...parameters.map(describe), ...(variadic ? ['…'] : [])].join(', ') || 'void'
