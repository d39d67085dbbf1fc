import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Control, controlOf } from '../../tools/arm64/qmp.ts'

let qemu: Socket
let control: Control
let commands: AsyncIterator<string>
const say = (said: unknown): void => void qemu.write(`${JSON.stringify(said)}\r\n`)
const command = async (): Promise<unknown> => JSON.parse((await commands.next()).value)

beforeEach(async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  qemu = ((await once(server, 'connection')) as [Socket])[0]
  server.close()
  commands = createInterface({ input: qemu })[Symbol.asyncIterator]()
  say({ QMP: { version: {}, capabilities: [] } })
  const ready = controlOf(client)
  expect(await command()).toEqual({ execute: 'qmp_capabilities', arguments: {} })
  say({ return: {} })
  control = await ready
})
afterEach(() => void qemu.destroy())

test('answers go to their commands, with events in between', async () => {
  const [first, second, event] = [control.ask('one', { uri: 'file:a' }), control.ask('two'), control.event('RESUME')]
  expect(await command()).toEqual({ execute: 'one', arguments: { uri: 'file:a' } })
  say({ event: 'STOP' })
  say({ return: 1 })
  say({ event: 'RESUME' })
  say({ return: 2 })
  expect(await Promise.all([first, second, event])).toEqual([1, 2, undefined])
})

test('what QEMU refuses is thrown, and the next command has its own answer', async () => {
  const [first, second] = [control.ask('one'), control.ask('two')]
  say({ error: { class: 'GenericError', desc: 'no such file' } })
  say({ return: 2 })
  await expect(first).rejects.toThrow('QEMU: one: no such file')
  expect(await second).toBe(2)
})

test('nobody waits for QEMU when it has ended', async () => {
  const [asked, event] = [control.ask('one'), control.event('RESUME')]
  qemu.resetAndDestroy()
  await expect(asked).rejects.toThrow('QEMU has ended')
  await expect(event).rejects.toThrow('QEMU has ended')
  await expect(control.ask('two')).rejects.toThrow('QEMU has ended')
})
