/** Entry of the snapshot (start-from-snapshot.ts) from which Windows' Node on ARM64 starts the short programs of the tests, each of which would load and link all of this anew. */
import type { StricliProcess } from '@stricli/core'
import '../../src/cli/actions/apply-all.ts'
import '../../src/cli/actions/apply.ts'
import '../../src/cli/actions/check-all.ts'
import '../../src/cli/actions/rollback-all.ts'
import '../../src/cli/actions/rollback.ts'
import '../../src/cli/actions/status.ts'
import '../../src/cli/actions/verify-all.ts'
import '../../src/cli/actions/verify.ts'
import { runHotpatch } from '../../src/cli/app.ts'
import { newPatch } from '../../src/engine/testing/world.ts'
import { encodeManifest } from '../../src/patch/manifest-codec.ts'
import { runWatchdog } from '../../src/process/windows/watchdog-program.ts'
import { startFromSnapshot } from './start-from-snapshot.ts'

// zod makes code of each part of the schema when it first meets it.
encodeManifest(newPatch().manifest)

startFromSnapshot({
  'src/cli/main': () => runHotpatch(process.argv.slice(2), process as StricliProcess),
  'src/process/windows/watchdog-program': async () => runWatchdog(process.argv.slice(2)),
  'src/process/testing/dying-engine': () => import('../../src/process/testing/dying-engine.ts'),
  'src/process/testing/other-engine': () => import('../../src/process/testing/other-engine.ts'),
  'src/process/testing/run-on-windows': () => import('../../src/process/testing/run-on-windows.ts'),
  'test/arm64/cli-on-windows': () => import('./cli-on-windows.ts'),
  'test/arm64/engine-on-windows': () => import('./engine-on-windows.ts'),
})
