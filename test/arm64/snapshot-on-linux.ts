/**
 * Entry of the snapshot (start-from-snapshot.ts) from which Node on ARM64 starts what the tests of Linux start: engines that are killed, most of all. The backend of Linux takes addresses of memory as it is
 * loaded, so each program loads that itself.
 */
import '../../src/engine/index.ts'
import { newPatch } from '../../src/engine/testing/world.ts'
import { encodeManifest } from '../../src/patch/manifest-codec.ts'
import '../../src/patch/read.ts'
import { startFromSnapshot } from './start-from-snapshot.ts'

encodeManifest(newPatch().manifest)

startFromSnapshot({
  'test/engine/killed-engine': () => import('../engine/killed-engine.ts'),
  'test/process/killed-engine': () => import('../process/killed-engine.ts'),
  'test/process/open-as': () => import('../process/open-as.ts'),
  'test/process/tracer': () => import('../process/tracer.ts'),
})
