/**
 * Does in the ARM64 machine what the host asks for (agent-client.ts): keeps files, runs programs, starts some that go on, and leads one port to theirs.
 * HTTP, for Node brings both sides of it: a path names what is asked, the body is JSON, but for files.
 *
 *   node agent.mjs PORT RELAY_PORT
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as listen } from 'node:net'
import { constants, setPriority } from 'node:os'
import { dirname } from 'node:path'

const [port, relayPort] = process.argv.slice(2).map(Number)
const started = new Map()

const actions = {
  file({ path, mode }, body) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, body, { mode })
    return {}
  },
  run: ({ program, args, env }) =>
    new Promise((resolve, reject) => {
      const began = performance.now()
      // Before what is under load: a child has the priority of the thread that starts it.
      setPriority(constants.priority.PRIORITY_HIGH)
      const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
      setPriority(constants.priority.PRIORITY_NORMAL)
      const kept = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'])
        child[name].setEncoding('utf8').on('data', (text) => {
          kept[name] += text
        })
      child.on('error', reject)
      child.on('close', (status) => resolve({ status, ...kept, milliseconds: performance.now() - began }))
    }),
  start: ({ program, args, env }) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
      const state = { output: '', running: true, child }
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text) => {
          state.output += text
        })
      child.on('error', reject)
      child.on('exit', () => {
        state.running = false
      })
      child.on('spawn', () => {
        started.set(child.pid, state)
        resolve({ pid: child.pid })
      })
    }),
  look({ pid }) {
    const { output, running } = started.get(pid)
    return { output, running }
  },
  stop({ pid }) {
    started.get(pid).child.kill('SIGKILL')
    return {}
  },
  code: ({ pid, address, reach }) => ({ regions: codeAround(pid, address, reach) }),
  relay: ({ to }) =>
    new Promise((resolve, reject) => {
      const relay = listen({ noDelay: true }, (near) => {
        const far = connect({ host: '127.0.0.1', port: to, noDelay: true })
        near.pipe(far).pipe(near)
        near.on('error', () => far.destroy())
        far.on('error', () => near.destroy())
      })
      relay.on('error', reject)
      relay.listen(relayPort, '0.0.0.0', () => resolve({}))
    }),
}

/** Executable memory that lies within `reach` of `address`: where it starts, and its bytes in base64. */
function codeAround(pid, address, reach) {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8')
      .split('\n')
      .flatMap((line) => {
        const [, from = '', to = '', rights = ''] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? []
        const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
        if (rights[2] !== 'x' || end <= address - reach || start >= address + reach) return []
        const bytes = Buffer.alloc(end - start)
        readSync(memory, bytes, 0, bytes.length, start)
        return [[start, bytes.toString('base64')]]
      })
  } finally {
    closeSync(memory)
  }
}

createServer(async (request, response) => {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  const name = request.url.slice(1)
  const given = name === 'file' ? JSON.parse(request.headers['x-file']) : JSON.parse(body.toString() || '{}')
  try {
    const answer = await actions[name](given, body)
    response.end(JSON.stringify(answer))
  } catch (error) {
    response.statusCode = 500
    response.end(String(error))
  }
}).listen(port, '0.0.0.0', () => console.log('@ready'))
