import type { UnwindRegistration, UnwindRequest } from '../contract.ts'
export function registerFrames(_request: UnwindRequest): UnwindRegistration | undefined {
  return undefined
}
export function unregisterFrames(_registration: UnwindRegistration): void {}
