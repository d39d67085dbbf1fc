/** `Process.search`: all memory that is not as a file has it. */
import { closeSync, readSync } from 'node:fs'
import type { AddressRange, SearchRequest, SearchResult } from '../contract.ts'
import { searchParts } from '../search.ts'
import type { Memory } from './memory.ts'
import type { Mapping } from './proc.ts'
import { openInProcess } from './proc.ts'

/** More address space than this is not even looked through for pages: the kernel takes about a second for 500 GB. */
const MOST_SPACE = 1n << 36n
const PAGE = 4096n

/** proc_pid_pagemap(5), the upper half of an entry: present, swapped out, page of a file or shared. */
const [PRESENT, SWAPPED, FILE] = [1 << 31, 1 << 30, 1 << 29]
/** Nobody writes there, or nobody can read it. */
const KERNELS = ['[vvar]', '[vvar_vclock]', '[vdso]', '[vsyscall]']

export function searchMemory(pid: number, maps: readonly Mapping[], memory: Memory, request: SearchRequest): SearchResult {
  const mappings = maps.filter(({ name }) => !KERNELS.includes(name))
  if (mappings.reduce((sum, { start, end }) => sum + (end - start), 0n) > MOST_SPACE) return 'too-much'
  let pages: number
  try {
    pages = openInProcess(pid, 'pagemap', 'r')
  } catch {
    return 'too-much'
  }
  try {
    const parts = mappings.flatMap((mapping) => (mapping.shared ? sharedPart(mapping) : privateParts(mapping, pages)))
    return searchParts(request, parts, (address, into) => memory.fill(address, into))
  } finally {
    closeSync(pages)
  }
}

/** Whoever shares it may have written any page. */
const sharedPart = ({ start, end, write }: Mapping): AddressRange[] => (write ? [{ start, end }] : [])

/** Pages that are the process' own, whatever their protection is now: it may have been another. */
function privateParts({ start, end }: Mapping, pagemap: number): AddressRange[] {
  const count = Number((end - start) / PAGE)
  const entries = new Uint32Array(2 * count)
  const bytes = new Uint8Array(entries.buffer)
  let known = 0
  while (known < bytes.length) {
    const got = readSync(pagemap, bytes, known, bytes.length - known, (start / PAGE) * 8n + BigInt(known))
    if (got <= 0) break
    known += got
  }
  const parts: { start: bigint; end: bigint }[] = []
  for (let page = 0; page < count; page++) {
    const entry = entries[2 * page + 1] as number
    // What the kernel did not tell may be there.
    const isOwn = 8 * page >= known || ((entry & PRESENT) !== 0 && (entry & FILE) === 0) || (entry & SWAPPED) !== 0
    if (!isOwn) continue
    const at = start + BigInt(page) * PAGE
    const last = parts.at(-1)
    if (last?.end === at) last.end = at + PAGE
    else parts.push({ start: at, end: at + PAGE })
  }
  return parts
}
