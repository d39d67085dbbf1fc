/** The main job as a suite, for every kind of process: built, applied under load, looked after, rolled back. */
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildServer } from '../../demo/server/build.ts'
import { serverSubject } from '../../demo/server/subject.ts'
import type { Builds, Live } from '../../demo/subject.ts'
import type { Target } from '../../demo/target.ts'
import { workshop } from '../../tools/places.ts'
import { run } from '../../tools/run.ts'
import { json, jsonBeside } from './hotpatch.ts'
import { codeAround, mappings, readMemory, writeMemory } from './memory.ts'

interface Dumper {
  readonly program: string
  readonly args: readonly string[]
}

/** Programs by others that must print a patch image without complaint. */
const DUMPERS: Readonly<Record<Target['name'], readonly Dumper[]>> = {
  elf: [
    { program: 'readelf', args: ['--all', '--wide', '--lint'] },
    { program: 'llvm-readobj-19', args: ['--all'] },
    { program: 'objdump', args: ['-x', '-d'] },
    { program: 'llvm-objdump-19', args: ['-d', '--dwarf=frames'] },
  ],
  pe: [
    {
      program: 'llvm-readobj-19',
      args: ['--file-headers', '--sections', '--symbols', '--coff-basereloc', '--coff-load-config', '--coff-exports', '--unwind'],
    },
    { program: 'x86_64-w64-mingw32-objdump', args: ['-x', '-d'] },
    { program: 'llvm-objdump-19', args: ['-d', '--unwind-info'] },
  ],
}

export function describeFlow(target: Target): void {
  describe(`${target.title}: the whole way`, () => {
    const place = join(workshop, 'e2e', target.name)
    const patch = join(place, `fix${target.patchSuffix}`)
    let builds: Builds
    let live: Live

    beforeAll(async () => {
      builds = await buildServer(target, place)
      live = await serverSubject.start(target, builds)
    })

    afterAll(async () => {
      await live?.load.stop()
      await live?.server.stop()
      await target.close()
    })

    const build = (out: string, { before, after, base }: Omit<Builds, 'place'> = builds) =>
      json(
        'build',
        '--before',
        before,
        '--after',
        after,
        '--base',
        base,
        '-o',
        out,
        '--id',
        'fix',
        '--description',
        'lengths',
        '--cve',
        'CVE-2014-0160',
      )
    const beside = (verb: string, ...args: string[]) => jsonBeside(target, verb, '--pid', `${live.server.pid}`, ...args)
    const apply = () => beside('apply', '--allow-unsigned', target.path(patch))

    describe('files', () => {
      test('diff names what the fix changed, and nothing else', async () => {
        const { outcome, exit, result } = await json('diff', builds.before, builds.after)
        expect({ outcome, exit }).toEqual({ outcome: 'patchable', exit: 0 })
        const functions = result.items
          .filter(({ kind }: { kind: string }) => kind === 'function')
          .map(({ change, name, file }: Record<string, string>) => `${change} ${name} ${file}`)
          // mingw has snprintf as an inline function, which comes along.
          .filter((line: string) => !line.includes('snprintf'))
        expect(functions.sort()).toEqual(['added refuse heartbeat.o', 'changed answer heartbeat.o', 'changed answer records.o'])
      })

      test('two equal builds are nothing to patch', async () => {
        const same = await json('diff', builds.before, builds.before)
        expect({ outcome: same.outcome, exit: same.exit }).toEqual({ outcome: 'same', exit: 0 })
        const out = join(place, `nothing${target.patchSuffix}`)
        const built = await build(out, { ...builds, after: builds.before })
        expect({ outcome: built.outcome, exit: built.exit }).toEqual({ outcome: 'nothing-to-patch', exit: 0 })
      })

      test('build writes the same bytes every time, wherever the objects lie', async () => {
        expect(await build(patch)).toMatchObject({ outcome: 'built', exit: 0 })
        const elsewhere = join(place, 'elsewhere')
        rmSync(elsewhere, { recursive: true, force: true })
        mkdirSync(elsewhere, { recursive: true })
        for (const folder of ['before', 'after'] as const) cpSync(builds[folder], join(elsewhere, folder), { recursive: true })
        const again = join(elsewhere, `other-name${target.patchSuffix}`)
        await build(again, { before: join(elsewhere, 'before'), after: join(elsewhere, 'after'), base: builds.base })
        expect(readFileSync(again).equals(readFileSync(patch))).toBe(true)
      })

      test.each(DUMPERS[target.name])('$program prints the patch image without complaint', async ({ program, args }) => {
        const { status, stderr } = await run(program, [...args, patch])
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      })

      test('inspect tells what the patch image holds', async () => {
        const { exit, result } = await json('inspect', patch)
        expect(exit).toBe(0)
        const text = JSON.stringify(result)
        for (const word of ['fix', 'lengths', 'CVE-2014-0160', 'answer']) expect(text).toContain(word)
      })

      test('inspect reads the base image and an object', async () => {
        expect((await json('inspect', builds.base)).exit).toBe(0)
        expect((await json('inspect', join(builds.after, 'heartbeat.o'))).exit).toBe(0)
      })
    })

    describe('process', () => {
      /** Where the first changed function starts in the process, and all code around it before anything was done. */
      let address: number
      let untouched: Map<number, Buffer>

      test('before: the hole is open, and status finds nothing', async () => {
        live.load.begin('before')
        expect(await live.probe()).toBe('open')
        expect(await beside('status')).toMatchObject({ outcome: 'nothing-patched', exit: 0 })
        expect(await beside('verify')).toMatchObject({ outcome: 'nothing-to-verify', exit: 0 })
        expect(await beside('rollback')).toMatchObject({ outcome: 'nothing-to-roll-back', exit: 0 })
      })

      test('check says what would be done and changes nothing', async () => {
        const before = mappings(live.server.linuxPid).map(({ start, permissions }) => `${start} ${permissions}`)
        const { outcome, exit, result } = await beside('check', target.path(patch))
        expect({ outcome, exit }).toEqual({ outcome: 'would-apply', exit: 0 })
        expect(result.functions.map(({ name }: { name: string }) => name)).toEqual(['answer', 'answer'])
        address = Number(result.functions[0].address)
        const after = mappings(live.server.linuxPid).map(({ start, permissions }) => `${start} ${permissions}`)
        expect(after).toEqual(before)
        untouched = codeAround(live.server.linuxPid, address)
        expect(untouched.size).toBeGreaterThan(0)
      })

      test('apply closes the hole under load: no request fails, no connection drops', async () => {
        live.load.begin('apply')
        const { outcome, exit, result } = await apply()
        expect({ outcome, exit }).toEqual({ outcome: 'applied', exit: 0 })
        expect(result.functions.map(({ name }: { name: string }) => name)).toEqual(['answer', 'answer'])
        expect(result.stop.stoppedMicroseconds).toBeGreaterThan(0)
        // 32 connections, each with its thread, and the one that accepts.
        expect(result.stop.threads).toBeGreaterThanOrEqual(33)
        await sleep(300)
        expect(await live.probe()).toBe('closed')
      })

      test('nothing that was mapped is writable and executable at once', () => {
        const both = mappings(live.server.linuxPid).filter(({ permissions }) => permissions.includes('wx'))
        expect(both).toEqual([])
      })

      test('a second apply says that it is applied already', async () => {
        expect(await apply()).toMatchObject({ outcome: 'already-applied', exit: 0, result: { id: 'fix' } })
        expect(await beside('check', target.path(patch))).toMatchObject({ outcome: 'already-applied', exit: 0 })
      })

      test('status reads it from the process: the patch file is not needed', async () => {
        renameSync(patch, `${patch}.away`)
        try {
          const { outcome, exit, result } = await beside('status')
          expect({ outcome, exit }).toEqual({ outcome: 'patched', exit: 0 })
          const [process] = result.processes
          expect(process.patches).toMatchObject([{ id: 'fix', state: 'applied', cves: ['CVE-2014-0160'], description: 'lengths' }])
        } finally {
          renameSync(`${patch}.away`, patch)
        }
      })

      test('verify finds a byte that was changed behind its back, and names the function', async () => {
        expect(await beside('verify')).toMatchObject({ outcome: 'verified', exit: 0 })
        const pid = live.server.linuxPid
        const at = changedByte(untouched, codeAround(pid, address))
        const original = readMemory(pid, at, 1)
        // The load is off: the byte is one that runs.
        await live.load.stop()
        writeMemory(pid, at, Buffer.of(original.readUInt8(0) ^ 0xff))
        const { outcome, exit, result } = await beside('verify')
        writeMemory(pid, at, original)
        expect({ outcome, exit }).toEqual({ outcome: 'differs', exit: 3 })
        expect(JSON.stringify(result)).toContain('answer')
        expect(await beside('verify')).toMatchObject({ outcome: 'verified', exit: 0 })
      })

      test('rollback puts the original bytes back exactly', async () => {
        expect(await beside('rollback')).toMatchObject({ outcome: 'rolled-back', exit: 0, result: { id: 'fix' } })
        for (const [start, bytes] of untouched)
          expect(readMemory(live.server.linuxPid, start, bytes.length).equals(bytes), `code at 0x${start.toString(16)}`).toBe(true)
        expect(await beside('rollback')).toMatchObject({ outcome: 'nothing-to-roll-back', exit: 0 })
        expect(await beside('verify')).toMatchObject({ exit: 0 })
      })

      test('it can be applied again', async () => {
        expect(await apply()).toMatchObject({ outcome: 'applied', exit: 0 })
        expect(await beside('verify')).toMatchObject({ outcome: 'verified', exit: 0 })
      })

      test('through all of it no request failed and no connection was dropped', () => {
        for (const { failed, dropped, firstFailure } of live.load.phases)
          expect({ failed, dropped, firstFailure }).toEqual({ failed: 0, dropped: 0, firstFailure: undefined })
        expect(live.server.running()).toBe(true)
      })
    })
  })
}

/** The address of the first byte of code that the patch changed. */
function changedByte(before: Map<number, Buffer>, after: Map<number, Buffer>): number {
  for (const [start, bytes] of before) {
    const now = after.get(start)
    const index = now === undefined ? -1 : bytes.findIndex((byte, i) => byte !== now[i])
    if (index >= 0) return start + index
  }
  throw new Error('the patch changed no code')
}
