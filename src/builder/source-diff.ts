/** A unified diff of sources: which line of a file after the fix is which line before it. */
import { HotpatchError } from '../errors.ts'

export interface SourceDiff {
  /**
   * The line after the fix that is `line` before it, unchanged. undefined: the fix takes it away or writes it anew, or `file` may be
   * more than one of the diff's files. A file that is not in the diff keeps its lines.
   * @param file a path that ends as the file's path in the diff does, leading folders aside
   */
  lineAfter(file: string, line: number): number | undefined
}

interface Hunk {
  /** First line before the fix; where it only adds, the line behind which it does. */
  readonly start: number
  /** Lines before the fix, in order: whether each stays. */
  readonly stays: readonly boolean[]
  /** Line after the fix of each that stays. */
  readonly lines: readonly number[]
  /** By how much what follows moves because of this hunk. */
  readonly growth: number
}

interface DiffFile {
  /** Folders and name, last first. */
  readonly parts: readonly string[]
  readonly hunks: readonly Hunk[]
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/

/** @param name what the diff is called. Throws MALFORMED where it has no hunk, or one that ends too early. */
export function readSourceDiff(text: string, name: string): SourceDiff {
  const files: { parts: readonly string[]; hunks: Hunk[] }[] = []
  const lines = text.split('\n')
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] as string
    const header = HUNK.exec(line)
    if (line.startsWith('--- ') && lines[at + 1]?.startsWith('+++ ')) {
      const [from, to] = [pathOf(line), pathOf(lines[at + 1] as string)]
      files.push({ parts: partsOf(from === '/dev/null' ? to : from), hunks: [] })
      at += 2
    } else if (header !== null && files.length > 0) {
      const { hunk, next } = readHunk(lines, at, header, name)
      files.at(-1)?.hunks.push(hunk)
      at = next
    } else at++
  }
  if (!files.some(({ hunks }) => hunks.length > 0)) throw new HotpatchError('MALFORMED', `${name} holds no hunk of a unified diff`)
  return {
    lineAfter(file, line) {
      const found = fileFor(file, files)
      return found === 'ambiguous' ? undefined : found === undefined ? line : lineIn(found, line)
    },
  }
}

/** Behind `--- `, up to the tab before a time. */
const pathOf = (line: string): string => (line.slice(4).split('\t')[0] as string).trim()
const partsOf = (path: string): string[] =>
  path
    .split(/[/\\]/)
    .filter((part) => part !== '' && part !== '.')
    .reverse()

function readHunk(lines: readonly string[], at: number, header: RegExpExecArray, name: string): { hunk: Hunk; next: number } {
  const [start, before, startAfter, after] = [1, 2, 3, 4].map((i) => Number(header[i] ?? 1)) as [number, number, number, number]
  const stays: boolean[] = []
  const linesAfter: number[] = []
  let [next, left, leftAfter] = [at + 1, before, after]
  while (left > 0 || leftAfter > 0) {
    const line = lines[next++]
    const mark = line === '' ? ' ' : line?.[0]
    if (mark === '\\') continue
    if (mark !== ' ' && mark !== '-' && mark !== '+')
      throw new HotpatchError('MALFORMED', `${name}: the hunk in line ${at + 1} ends too early`)
    if (mark !== '+') {
      stays.push(mark === ' ')
      linesAfter.push(startAfter + after - leftAfter)
      left--
    }
    if (mark !== '-') leftAfter--
  }
  return { hunk: { start, stays, lines: linesAfter, growth: after - before }, next }
}

function lineIn({ hunks }: DiffFile, line: number): number | undefined {
  let moved = line
  for (const { start, stays, lines, growth } of hunks) {
    // A hunk without lines of its own adds behind `start`.
    const end = stays.length === 0 ? start + 1 : start + stays.length
    if (line >= end) moved += growth
    else if (line >= start && stays.length > 0) return stays[line - start] ? lines[line - start] : undefined
  }
  return moved
}

/** The file of the diff whose path has most in common with `path`, from its end: the name at least, and all of the shorter path but leading folders. */
function fileFor(path: string, files: readonly DiffFile[]): DiffFile | 'ambiguous' | undefined {
  const parts = partsOf(path)
  let best: DiffFile | 'ambiguous' | undefined
  let most = 0
  for (const file of files) {
    const different = parts.findIndex((part, i) => part !== file.parts[i])
    const common = different < 0 ? parts.length : different
    if (common > most) [best, most] = [file, common]
    else if (common === most && common > 0) best = 'ambiguous'
  }
  return best
}
