/** The one place that asks which system the host is. */
import { HotpatchError } from '../errors.ts'
import type { Backend } from './contract.ts'

/** The backend for live processes of this machine. Throws PROCESS_UNSUPPORTED where there is none for it. */
export async function hostBackend(): Promise<Backend> {
  if (process.platform === 'linux') return (await import('./linux/index.ts')).linuxBackend
  if (process.platform === 'win32') return (await import('./windows/index.ts')).windowsBackend
  throw new HotpatchError('PROCESS_UNSUPPORTED', `hotpatch opens live processes on Linux and Windows, this is ${process.platform}`)
}
