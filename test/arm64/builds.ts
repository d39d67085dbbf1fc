/**
 * Compiles for ARM64 what the tests in the machine will ask for, into HOTPATCH_BRING, patches included: they ask by the same functions.
 *
 *   HOTPATCH_BRING=FOLDER tsx test/arm64/builds.ts
 */
import { FLAVOURS } from '../engine/flavours.ts'
import { buildMigration } from '../engine/migration.ts'
import { buildPair } from '../engine/pair.ts'
import { buildSeries } from '../engine/series.ts'
import { build } from '../engine/target.ts'
import { buildThreads, MAKES } from '../engine/threads.ts'
import { compileTarget, GCC_FOR_ARM64 } from '../process/programs.ts'

if (process.env.HOTPATCH_BRING === undefined) throw new Error('HOTPATCH_BRING names no folder')

for (const flavour of [...FLAVOURS.linux.arm64, ...FLAVOURS.killed.arm64]) build(flavour).patch()

for (const flavour of [...FLAVOURS.series.arm64, ...FLAVOURS.killedSeries.arm64, ...FLAVOURS.plain.arm64]) {
  const { patch } = buildSeries(flavour)
  for (const sequence of [1, 2, 3]) patch(sequence)
}

for (const flavour of FLAVOURS.migration.arm64) buildMigration(flavour)

for (const { compiler, flags } of FLAVOURS.busy.arm64)
  buildPair({ sources: 'busy', files: ['main.c', 'slow.c', 'unmarked.S'], compiler, flags }).bytes()
for (const { compiler, flags } of FLAVOURS.unstopped.arm64)
  buildPair({ sources: 'unstopped', files: ['main.c', 'work.c'], compiler, flags }).bytes()
for (const { compiler, flags } of FLAVOURS.plain.arm64)
  buildPair({ sources: 'awkward', files: ['main.c', 'work.c'], compiler, flags }).bytes()

for (const { compiler, flags } of FLAVOURS.indirect.arm64)
  buildPair({ sources: 'indirect', files: ['main.c', 'work.c', 'shared.c'], compiler, flags }).bytes()

for (const name of ['borrowed', 'edges']) compileTarget({ source: `${name}.c`, name, options: [], compiler: GCC_FOR_ARM64 })

for (const make of MAKES['elf-arm64']) {
  const { patch } = buildThreads(make)
  for (const side of ['after', 'later'] as const) patch(side)
}
