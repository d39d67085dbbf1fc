/** Opening the process that a person names, and closing it whatever happens. */
import type { Process } from '../process/contract.ts'
import { hostBackend } from '../process/host.ts'

export async function withProcess<T>(pid: number, use: (process: Process) => T | Promise<T>): Promise<T> {
  const backend = await hostBackend()
  const process = backend.open(pid)
  try {
    return await use(process)
  } finally {
    process.close()
  }
}
