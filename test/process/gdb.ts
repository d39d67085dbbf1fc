/** What gdb says of the stacks of a process. */
import { spawnSync } from 'node:child_process'

const SCRIPT = `
import gdb
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame = gdb.newest_frame()
    line = []
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            line.append(hex(frame.pc()))
        try:
            frame = frame.older()
        except gdb.error:
            break
    print('HPFRAMES', thread.ptid[1], ' '.join(line))
`

export const hasGdb = (): boolean => spawnSync('gdb', ['--version']).status === 0

/** By thread: the program counter of each frame that is one on the stack, innermost first. */
export function gdbFrames(pid: number): Map<number, bigint[]> {
  const settings = ['set debuginfod enabled off', 'set backtrace limit 20000', 'set backtrace past-main on', 'set backtrace past-entry off']
  const { stdout, stderr, status } = spawnSync(
    'gdb',
    [
      '-nx',
      '-batch',
      ...settings.flatMap((setting) => ['-iex', setting]),
      '-p',
      String(pid),
      '-ex',
      `python exec(${JSON.stringify(SCRIPT)})`,
    ],
    { encoding: 'utf8', timeout: 60_000, maxBuffer: 1 << 26 },
  )
  const frames = new Map<number, bigint[]>()
  for (const line of stdout.split('\n')) {
    const [mark, id, ...pcs] = line.split(' ')
    if (mark === 'HPFRAMES') frames.set(Number(id), pcs.filter(Boolean).map(BigInt))
  }
  if (frames.size === 0) throw new Error(`gdb said nothing of process ${pid} (${status}): ${stderr}`)
  return frames
}
