/** What may be done with a patch and a live process. Addresses in reports are hexadecimal text, so that a report is JSON as it is. */
export { applyPatch, applyPatches } from './apply.ts'
export { checkPatch } from './check.ts'
export { rollbackPatch, rollbackPatches } from './rollback.ts'
export { statusOf, statusOfAll } from './status.ts'
export { verifyProcess } from './verify.ts'
