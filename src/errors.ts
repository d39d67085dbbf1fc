/**
 * Every failure a person can meet, in one table: exit code, what happened, what to do.
 * docs/errors.md lists the same codes; a test holds the two together in both directions.
 */

/** Exit codes of the command line. 0 is also "already done" and "nothing to do". */
export const Exit = {
  done: 0,
  defect: 1,
  usage: 2,
  refused: 3,
  busy: 4,
  permission: 5,
  badInput: 6,
} as const

export type ExitName = keyof typeof Exit

interface ErrorEntry {
  readonly exit: ExitName
  /** What happened, without the particulars. */
  readonly what: string
  /** What the reader can do about it. */
  readonly todo: string
}

const entry = (exit: ExitName, what: string, todo: string): ErrorEntry => ({ exit, what, todo })

export const ERRORS = {
  // A defect of hotpatch itself.
  DEFECT: entry(
    'defect',
    'hotpatch met a state that its authors held impossible',
    'report it with the command line and the output of --json',
  ),

  // Usage.
  USAGE: entry('usage', 'the command line is not understood', 'see --help of the command'),

  // Bad input: files.
  FILE_UNREADABLE: entry('badInput', 'a file cannot be read', 'check the path and its permissions'),
  FILE_UNWRITABLE: entry('badInput', 'a file cannot be written', 'check the path, its permissions and the room on the disk'),
  FORMAT_UNKNOWN: entry(
    'badInput',
    'the file is of no format that hotpatch reads',
    'give an ELF or COFF object, an archive, a PE or ELF image',
  ),
  TRUNCATED: entry(
    'badInput',
    'the file ends before a structure that it announces',
    'the file is cut off or damaged: make or fetch it anew',
  ),
  MALFORMED: entry(
    'badInput',
    'a structure in the file contradicts itself',
    'the file is damaged or was not made by a known tool: make or fetch it anew',
  ),
  MACHINE_UNSUPPORTED: entry(
    'badInput',
    'the file is for a processor that hotpatch does not patch',
    'x64 is patched; see the README for what is planned',
  ),
  ARCHIVE_THIN: entry(
    'badInput',
    'the archive is a thin one: it names its members instead of holding them',
    'give the folder of the object files themselves',
  ),

  // Bad input: patch images (src/patch).

  // Refusals: machine code (src/machine).
  CODE_UNDECODABLE: entry(
    'refused',
    'code cannot be decoded where a reference lies',
    'the function holds data among its instructions, or instructions that hotpatch does not know: leave it unchanged',
  ),
  REDIRECT_OUT_OF_REACH: entry(
    'refused',
    'a jump to the stub does not reach',
    'the address table must lie within 2 GB of the function: the address space around the image is full',
  ),

  // Refusals: the builder's reasons (src/builder).

  // Refusals: the process or its base image does not fit the patch (src/engine).
  BASE_NOT_MAPPED: entry(
    'refused',
    'the process does not map the base image that the patch is for',
    'check the process, or build the patch for the image that it runs',
  ),

  // Permission and the system (src/os, src/process).
  PERMISSION_DENIED: entry(
    'permission',
    'the system does not let hotpatch at the process',
    "run as root or as the process' user with the right named above",
  ),
  PROCESS_GONE: entry('badInput', 'there is no such process (any more)', 'check the process id'),
  PROCESS_UNSUPPORTED: entry('badInput', 'the process is of a kind that cannot be patched', 'see the particulars'),
  MEMORY_UNREADABLE: entry('badInput', 'memory of the process cannot be read', 'the address is not mapped, or the process is going away'),
  MEMORY_UNWRITABLE: entry('refused', 'memory of the process cannot be written', 'see the particulars'),
  PLACE_TAKEN: entry('busy', 'another mapping took the place meant for the patch image', 'try again'),
  NO_PLACE: entry('refused', 'there is no free room within reach of the base image', 'the address space around it is full'),
  MAPPING_REFUSED: entry('refused', 'the system forbids the process to map the patch image', 'see the particulars for what forbids it'),
  STOP_TIMEOUT: entry(
    'busy',
    'a thread of the process did not stop in time',
    'the thread waits inside the kernel without interruption: try again later',
  ),
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

/** A failure with a code of the table. `detail` says what exactly happened here, in one sentence without a full stop. */
export class HotpatchError extends Error {
  readonly code: ErrorCode
  readonly detail: string
  /** Machine-readable particulars (addresses as hexadecimal strings), for --json. */
  readonly facts: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, detail: string, options: { cause?: unknown; facts?: Record<string, unknown> } = {}) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'HotpatchError'
    this.code = code
    this.detail = detail
    this.facts = options.facts ?? {}
  }

  get exit(): number {
    return Exit[ERRORS[this.code].exit]
  }

  get todo(): string {
    return ERRORS[this.code].todo
  }
}
