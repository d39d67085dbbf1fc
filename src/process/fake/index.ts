/** A backend whose processes exist only in memory, for fast tests of what is built upon processes. */
import { HotpatchError } from '../../errors.ts'
import type { Backend } from '../contract.ts'
import { FakeProcess } from './process.ts'
import type { FakeTarget } from './target.ts'

export { FakeProcess } from './process.ts'
export {
  EngineKilled,
  exitAt,
  type FakeFault,
  type FakeModule,
  FakeTarget,
  type FakeThread,
  failAt,
  killEngineAt,
} from './target.ts'

/** A backend that knows `targets`; the array may change while it is in use. */
export function fakeBackend(targets: readonly FakeTarget[]): Backend {
  return {
    system: 'fake',
    list: () => targets.filter((target) => target.alive).map(({ pid, name }) => ({ pid, name })),
    open(pid) {
      const target = targets.find((candidate) => candidate.pid === pid)
      if (target === undefined || !target.alive) throw new HotpatchError('PROCESS_GONE', `there is no process ${pid}`)
      return new FakeProcess(target)
    },
  }
}
