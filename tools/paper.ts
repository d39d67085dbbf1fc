/** How the demo looks: lines, commands, and one table. */
import pc from 'picocolors'

export const say = (line = ''): void => {
  process.stdout.write(`${line}\n`)
}

export const heading = (text: string): void => say(`\n${pc.bold(pc.inverse(` ${text} `))}\n`)

export const note = (text: string): void => say(pc.dim(`  ${text}`))

export const command = (words: readonly string[]): void => say(`\n${pc.cyan('$')} ${pc.bold(words.map(shellWord).join(' '))}`)

export const quote = (text: string): void => {
  for (const line of text.trimEnd().split('\n')) say(pc.dim(`  ${line}`))
}

export const verdict = (good: boolean, text: string): void => say(good ? `${pc.green('✔')} ${text}` : `${pc.red('✘')} ${pc.bold(text)}`)

const shellWord = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

export interface Column {
  readonly title: string
  readonly align: 'left' | 'right'
}

/** Cells may be coloured: `plain` is what counts for the width. */
export interface Cell {
  readonly plain: string
  readonly paint?: (text: string) => string
}

export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): string[] {
  const widths = columns.map(({ title }, index) => Math.max(title.length, ...rows.map((row) => row[index]?.plain.length ?? 0)))
  const line = (cells: readonly Cell[]) =>
    cells
      .map(({ plain, paint = same }, index) => {
        const padding = ' '.repeat((widths[index] ?? 0) - plain.length)
        return columns[index]?.align === 'right' ? padding + paint(plain) : paint(plain) + padding
      })
      .join(pc.dim(' │ '))
  const rule = pc.dim(widths.map((width) => '─'.repeat(width)).join('─┼─'))
  return [line(columns.map(({ title }) => ({ plain: title, paint: pc.bold }))), rule, ...rows.map(line)].map((text) => `  ${text}`)
}

const same = (text: string): string => text

export const number = (value: number): string => Math.round(value).toLocaleString('en')
