/** Where processes of a target run, and hotpatch beside them. */
import type { Server } from '../../demo/target.ts'
import type { Ran } from '../../tools/run.ts'

export interface Site {
  /** A process that maps `file` of the folder `images`, with its other images beside it. Throws where it does not come up. */
  start(images: string, file: string): Promise<Server>
  hotpatch(args: readonly string[]): Promise<Ran>
  /** What a file of this system is called there. */
  bring(path: string): Promise<string>
  /** Executable memory within REACH of an address, by its start, as the system itself shows it. */
  code(server: Server, address: number): Promise<ReadonlyMap<number, Buffer>>
}

/** Bytes to either side of a function in which an image's code is looked for. */
export const REACH = 1 << 26
