/**
 * Entry of the snapshot (start-from-snapshot.ts) from which Node on ARM64 starts the engines that are killed on Linux. The backend of Linux takes addresses of memory as it is loaded, so each engine loads
 * that itself.
 */
import '../../src/engine/index.ts'
import { newPatch } from '../../src/engine/testing/world.ts'
import { encodeManifest } from '../../src/patch/manifest-codec.ts'
import '../../src/patch/read.ts'
import { startFromSnapshot } from './start-from-snapshot.ts'

encodeManifest(newPatch().manifest)

startFromSnapshot({ 'test/engine/killed-engine': () => import('../engine/killed-engine.ts') })
