import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PACKAGES, packagesFor, TASKS, tasksWithin } from '../../tools/debian-packages.mjs'
import { clone } from '../../tools/places.ts'

const setup = (...args: string[]) => spawnSync(process.execPath, [join(clone, 'tools/setup.mjs'), ...args], { encoding: 'utf8' })

test('every package is for a task that there is, and stands once', () => {
  for (const { name, tasks, why } of PACKAGES) {
    expect(tasks.length, name).toBeGreaterThan(0)
    for (const task of tasks) expect(Object.keys(TASKS), name).toContain(task)
    expect(why, name).not.toBe('')
  }
  expect(new Set(PACKAGES.map(({ name }) => name)).size).toBe(PACKAGES.length)
})

test('a task has the packages of the tasks within it', () => {
  expect(tasksWithin('cves')).toEqual(['cves', 'mosquitto-pe', 'mosquitto', 'demo-elf', 'demo-pe', 'arm64'])
  const names = packagesFor('mosquitto').map(({ name }: { name: string }) => name)
  expect(names).toContain('gcc')
  expect(names).toContain('cmake')
  expect(names).not.toContain('wine64')
})

test('every task that package.json asks for is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const asked = Object.values(scripts).flatMap((script) => /tools\/setup\.mjs (\S+)/.exec(script)?.[1] ?? [])
  expect(asked.length).toBeGreaterThan(0)
  for (const task of asked) expect(Object.keys(TASKS)).toContain(task)
})

test('an unknown task is named', () => {
  const { status, stderr } = setup('everything')
  expect(status).toBe(2)
  expect(stderr).toContain('no such task "everything"')
})
