/** Reads what llvm-readobj prints, so that tests can compare with it. */

/** `Name {` and `Name [` open a node, `Key: value` is a leaf; other lines are kept as `lines`. */
export interface Node {
  readonly name: string
  readonly values: ReadonlyMap<string, string>
  readonly lines: readonly string[]
  readonly children: readonly Node[]
}

interface OpenNode {
  name: string
  values: Map<string, string>
  lines: string[]
  children: OpenNode[]
}

const open = (name: string): OpenNode => ({ name, values: new Map(), lines: [], children: [] })

export function parseReadobj(text: string): Node {
  const root = open('')
  const stack = [root]
  for (const raw of text.split('\n')) {
    const line = raw.trim()
    const top = stack[stack.length - 1] as OpenNode
    if (line === '') continue
    if (line === '}' || line === ']') {
      stack.pop()
      continue
    }
    const opens = /^(.*?):? ?(?:\[ ?(?:\(0x[0-9A-F]+\))?|\{)$/.exec(line)
    if (opens !== null) {
      const child = open(opens[1] as string)
      const flags = /\((0x[0-9A-F]+)\)$/.exec(line)
      if (flags !== null) top.values.set(child.name, flags[1] as string)
      top.children.push(child)
      stack.push(child)
      continue
    }
    top.lines.push(line)
    const leaf = /^([^:]+): ?(.*)$/.exec(line)
    if (leaf !== null) top.values.set(leaf[1] as string, leaf[2] as string)
  }
  return root
}

/** All nodes of that name, at any depth. */
export function nodesOf(node: Node, name: string): Node[] {
  return node.children.flatMap((child) => [...(child.name === name ? [child] : []), ...nodesOf(child, name)])
}

/** The first node of that name. Throws where there is none. */
export function nodeOf(node: Node, name: string): Node {
  const [found] = nodesOf(node, name)
  if (found === undefined) throw new Error(`llvm-readobj printed no ${name}`)
  return found
}

/** A value of a node as text. Throws where there is none. */
export function textOf(node: Node, key: string): string {
  const value = node.values.get(key)
  if (value === undefined) throw new Error(`llvm-readobj printed no ${key} in ${node.name}`)
  return value
}

/** The number in `12`, `0x1F` or `Name (0x1F)`. */
export function numberOf(node: Node, key: string): number {
  const value = textOf(node, key)
  return Number(/\((-?(?:0x)?[0-9A-Fa-f]+)\)$/.exec(value)?.[1] ?? value)
}

/** `name (number)` without the number. */
export const nameOf = (text: string): string => text.replace(/ \([^()]*\)$/, '')
