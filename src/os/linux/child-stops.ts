/**
 * A thread that stops for its tracer also sends SIGCHLD to it. Once Node.js has started a child it has a handler for that signal, which
 * writes to pipes: tens of microseconds in the middle of a stop. Nobody needs the signal: a tracer hears of stops from waitpid, and Node.js
 * asks only about ended children, whose signals still come.
 */
import { SIG, SIGACTION } from './definitions.ts'
import { libc, pinned } from './libc.ts'

/** asm-generic/signal-defs.h. */
const SA_NOCLDSTOP = 1
const [SIG_DFL, SIG_IGN] = [0n, 1n]

const action = pinned(SIGACTION.size)

/** From now on, no SIGCHLD for stops (sigaction(2), SA_NOCLDSTOP). The handler stays what it is. */
export function silenceChildStops(): void {
  if (libc.sigaction(SIG.CHLD, 0, action.address) !== 0) return
  const handler = action.view.getBigInt64(SIGACTION.handler, true)
  const flags = action.view.getInt32(SIGACTION.flags, true)
  if (handler === SIG_DFL || handler === SIG_IGN || (flags & SA_NOCLDSTOP) !== 0) return
  action.view.setInt32(SIGACTION.flags, flags | SA_NOCLDSTOP, true)
  libc.sigaction(SIG.CHLD, action.address, 0)
}
