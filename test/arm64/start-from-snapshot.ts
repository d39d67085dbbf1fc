/**
 * What the V8 startup snapshots of the ARM64 machines do when Node starts from one:
 *
 *   node --snapshot-blob SNAPSHOT PROGRAM ARGUMENT...
 *
 * PROGRAM is the file that would be run without a snapshot. It is not read and need not be there: the snapshot has the same code, and most of what that imports is loaded already.
 *
 * What is loaded while the snapshot is made must not keep anything of the process that makes it, and in Windows' Node must not call fileURLToPath: that makes a second context, and only one can be in a
 * snapshot. What V8 has behind a flag of its own, Atomics and toSorted among it, is not there yet; it is when a program runs.
 */
import { join } from 'node:path'
import { startupSnapshot } from 'node:v8'

/** Each runs its program, by the place that this has in the clone, without its suffix. What they import dynamically is evaluated then, not in the snapshot. */
export type Programs = Readonly<Record<string, () => Promise<unknown>>>

/** To be called when all else of the snapshot is loaded. */
export function startFromSnapshot(programs: Programs): void {
  const byFile = new Map(Object.entries(programs).map(([name, run]) => [join(import.meta.dirname, '../..', `${name}.js`), run]))
  startupSnapshot.setDeserializeMainFunction(() => {
    const run = byFile.get(process.argv[1] ?? '')
    if (run === undefined) throw new Error(`${process.argv[1]} is not in the snapshot: ${[...byFile.keys()].join(' ')}`)
    void run()
  })
}
