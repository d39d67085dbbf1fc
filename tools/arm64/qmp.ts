/** QEMU's machine protocol: JSON, one line for each command, answer and event (docs/interop/qmp-spec.rst in QEMU). */
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'

/** Arguments of QEMU that open it on file descriptor 3. */
export const CONTROL = ['-chardev', 'socket,id=control,fd=3', '-mon', 'chardev=control,mode=control']

interface Said {
  readonly return?: unknown
  readonly error?: { readonly desc: string }
  readonly event?: string
}

export interface Control {
  /** Throws what QEMU says against it, and when QEMU has ended. */
  ask(execute: string, args?: object): Promise<unknown>
  /** When QEMU first tells of it after this call. Throws when QEMU has ended. */
  event(name: string): Promise<void>
}

interface Waiting {
  /** Whether this is what is waited for. */
  is(said: Said): boolean
  resolve(said: Said): void
  reject(error: Error): void
}

/** Ready for commands. */
export async function controlOf(stream: Duplex): Promise<Control> {
  const waiting = new Set<Waiting>()
  let over = false
  const wait = (is: Waiting['is']): Promise<Said> =>
    new Promise((resolve, reject) => {
      if (over) reject(new Error('QEMU has ended'))
      else waiting.add({ is, resolve, reject })
    })
  createInterface({ input: stream })
    .on('line', (line) => {
      const said = JSON.parse(line) as Said
      for (const one of waiting)
        if (one.is(said)) {
          waiting.delete(one)
          one.resolve(said)
          // Answers come in the order of their commands, one each.
          if (said.event === undefined) return
        }
    })
    // QEMU that is killed resets its end.
    .on('error', () => {})
  stream.on('close', () => {
    over = true
    for (const one of waiting) one.reject(new Error('QEMU has ended'))
  })
  const control: Control = {
    async ask(execute, args = {}) {
      const answer = wait((said) => said.return !== undefined || said.error !== undefined)
      stream.write(`${JSON.stringify({ execute, arguments: args })}\n`)
      const { return: result, error } = await answer
      if (error !== undefined) throw new Error(`QEMU: ${execute}: ${error.desc}`)
      return result
    },
    event: async (name) => void (await wait(({ event }) => event === name)),
  }
  await control.ask('qmp_capabilities')
  return control
}
