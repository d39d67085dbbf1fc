/**
 * Archives as the kernel unpacks them into its first file system (Documentation/driver-api/early-userspace/buffer-format.rst): cpio's `newc`
 * form. Archives may follow each other in one file, so what changes seldom and what changes often are made apart.
 */
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const ALIGNMENT = 4
/** stat(2): the kinds of files. */
const S_IF = { DIR: 0o040000, REG: 0o100000, LNK: 0o120000, CHR: 0o020000 } as const

export interface Device {
  readonly major: number
  readonly minor: number
}

/** Writes one archive; `end` must come last. */
export class CpioWriter {
  readonly #fd: number
  #serial = 0

  constructor(path: string) {
    this.#fd = openSync(path, 'w')
  }

  folder(name: string): void {
    this.#entry(name, S_IF.DIR | 0o755, new Uint8Array())
  }

  file(name: string, content: Uint8Array, permissions: number): void {
    this.#entry(name, S_IF.REG | permissions, content)
  }

  link(name: string, target: string): void {
    this.#entry(name, S_IF.LNK | 0o777, Buffer.from(target))
  }

  characterDevice(name: string, device: Device): void {
    this.#entry(name, S_IF.CHR | 0o600, new Uint8Array(), device)
  }

  /** Everything below `folder`, as `name`. The folders above `name` must be there already. */
  tree(name: string, folder: string): void {
    this.folder(name)
    for (const entry of readdirSync(folder).sort()) {
      const [path, inside] = [join(folder, entry), `${name}/${entry}`]
      const stat = lstatSync(path)
      if (stat.isDirectory()) this.tree(inside, path)
      else if (stat.isSymbolicLink()) this.link(inside, readlinkSync(path))
      else if (stat.isFile()) this.file(inside, readFileSync(path), stat.mode & 0o777)
    }
  }

  end(): void {
    this.#entry('TRAILER!!!', 0, new Uint8Array())
    closeSync(this.#fd)
  }

  #entry(name: string, mode: number, content: Uint8Array, device: Device = { major: 0, minor: 0 }): void {
    const encoded = Buffer.from(`${name}\0`)
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const fields = [++this.#serial, mode, 0, 0, 1, 0, content.length, 0, 0, device.major, device.minor, encoded.length, 0]
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
    this.#write(Buffer.concat([header, encoded]))
    this.#write(content)
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done)
    writeSync(this.#fd, new Uint8Array(-bytes.length & (ALIGNMENT - 1)))
  }
}
