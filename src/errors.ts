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

  ACCEPT_UNMATCHED: entry(
    'usage',
    'an --accept names something that this build is not refused for',
    'take it away, or write CODE:SYMBOL as the refusal has them; `hotpatch build` without it lists all reasons',
  ),

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
    'x64 and ARM64 are patched; ARM64EC, ARM64X and hybrid (CHPE) images hold code for two processors and are not',
  ),
  SYMBOLS_MISMATCH: entry(
    'badInput',
    'a file with symbols belongs to another build than the base image and has no types of the objects either',
    'give the one that was made with the image: its build id, check sum or GUID must be the same; a PDB for its types must be of one of the two builds',
  ),
  ARCHIVE_THIN: entry(
    'badInput',
    'the archive is a thin one: it names its members instead of holding them',
    'give the folder of the object files themselves',
  ),

  // Bad input: building from sources (src/sources).
  BUILD_FAILED: entry('badInput', 'the build command failed', 'read its words, and try the command in a copy of the source tree'),
  BUILD_UNSEEN: entry(
    'badInput',
    'the build called no compiler that hotpatch knows of',
    'let the build find its compilers by name in PATH (gcc, clang, mingw; not /usr/bin/gcc), and link what is to be patched',
  ),
  DIFF_REJECTED: entry('badInput', 'the fix does not apply to the source tree', 'give the tree that the fix was made for; see --strip'),
  OBJECTS_GONE: entry('badInput', 'the build removes its object files', 'make the build keep them until it ends'),
  TOOL_MISSING: entry('badInput', 'a program that this needs cannot be run', 'install it'),
  IMAGE_UNCLEAR: entry(
    'badInput',
    'which image the patch is for is not clear',
    'name one with --base, or give -o a folder: it gets a patch for each',
  ),

  // Bad input: patch images (src/patch).
  NOT_A_PATCH_IMAGE: entry('badInput', 'the file is no patch image', 'give a file that hotpatch build has written'),
  PATCH_TABLE_MALFORMED: entry(
    'badInput',
    'the hot patch table contradicts itself',
    'the patch image is damaged or was not made by a known tool: make or fetch it anew',
  ),
  PATCH_RECORD_INVALID: entry(
    'badInput',
    'the hot patch table asks for something that a patch image may not do',
    'the patch image is damaged or was not made by a known tool: make or fetch it anew',
  ),
  PATCH_RECORD_UNSUPPORTED: entry(
    'refused',
    'the hot patch table insists on something that hotpatch does not do',
    'the patch image was made for another engine: build it with this one',
  ),
  PATCH_MANIFEST_MALFORMED: entry(
    'badInput',
    "the patch image's manifest is not what it must be",
    'the patch image is damaged or was made by another version of hotpatch: make or fetch it anew',
  ),
  PATCH_MANIFEST_MISMATCH: entry(
    'badInput',
    "the patch image's manifest and its hot patch table do not agree",
    'the patch image is damaged or was tampered with: make or fetch it anew',
  ),
  PATCH_WRITABLE_CODE: entry(
    'badInput',
    'the patch image has memory that is both writable and executable',
    'build it without such sections: hotpatch never maps them',
  ),
  PATCH_IMAGE_MALFORMED: entry(
    'badInput',
    'the patch image is not laid out as one must be',
    'the patch image is damaged or was not made by a known tool: make or fetch it anew',
  ),
  PATCH_IMAGE_UNSUPPORTED: entry(
    'refused',
    "the patch image needs something that only the system's own loader does",
    'build it with hotpatch build, which avoids it or says what to change',
  ),
  PATCH_WRONG_MACHINE: entry('refused', 'the patch is for another processor', 'give the patch that was built for this program'),
  PATCH_OUT_OF_REACH: entry(
    'refused',
    'a 32-bit reference between the patch image and its base image does not reach',
    'the address space around the base image is full: see the particulars',
  ),

  // Trust (src/servicing/trust).
  KEY_INVALID: entry('badInput', 'a key cannot be used', 'give an Ed25519 key as PEM, as "hotpatch keys generate" writes it'),
  KEY_EXISTS: entry('refused', 'the name belongs to another key already', 'choose another name, or remove the old key first'),
  KEY_UNKNOWN: entry('badInput', 'there is no such trusted key', 'see "hotpatch keys list"'),
  UNSAFE_PATH: entry(
    'refused',
    'a file that must be trusted can be changed by others',
    'move it to a folder that only root (or you) can write, and take the write permission from others',
  ),

  SIGNATURE_MISSING: entry(
    'refused',
    'the patch image is not signed',
    'get it signed by its vendor ("hotpatch sign"), or say --allow-unsigned where you know what it is',
  ),
  SIGNATURE_UNTRUSTED: entry(
    'refused',
    'the patch image is signed with a key that this machine does not trust',
    'if you trust its owner: "hotpatch keys trust NAME FILE" with the public key that the vendor published',
  ),
  SIGNATURE_INVALID: entry(
    'refused',
    "the patch image's signature is not good",
    'the file was changed after it was signed: fetch it anew from its vendor',
  ),

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
  REFUSED: entry('refused', 'the difference between the two builds cannot be hotpatched as it is', 'each reason says what to do about it'),
  RELOCATION_UNSUPPORTED: entry(
    'refused',
    'an object has a relocation that hotpatch does not know',
    'compile with the small code model (-mcmodel=small) and the GNU TLS dialect (-mtls-dialect=gnu)',
  ),

  // Refusals: the process or its base image does not fit the patch (src/engine).
  BASE_NOT_MAPPED: entry(
    'refused',
    'the process does not map the base image that the patch is for',
    'check the process, or build the patch for the image that it runs',
  ),
  BASE_DIFFERS: entry(
    'refused',
    'the process maps another build of the base image than the patch is for',
    'build the patch for the image that the process runs, or restart the process with the image that the patch is for',
  ),
  BASE_AMBIGUOUS: entry(
    'refused',
    'the process maps the base image more than once',
    'patching one of them would leave the others as they are: restart the process instead',
  ),
  SAME_BASE: entry(
    'refused',
    'two of the patches given are for the same base image',
    'give the latest of them alone: it holds what the earlier ones change, and takes their place',
  ),
  ORIGINAL_BYTES_DIFFER: entry(
    'refused',
    'code in memory is not what the patch expects to replace',
    'another tool has changed the function (a tracer, a debugger, another patcher): take that away first',
  ),
  REDIRECT_REFUSED: entry(
    'refused',
    'a function cannot be redirected safely in this process',
    'leave the function unchanged and fix its callers or callees instead, or build the program with room for a redirect',
  ),
  IMPORT_MISSING: entry(
    'refused',
    'the process has no such function or variable as the patch takes from a library',
    'the process uses another version of the library than the patch was built for: build the patch against that one',
  ),
  IMPORT_AMBIGUOUS: entry(
    'refused',
    'several modules of the process define what the patch takes from a library',
    'nothing tells which of them the program itself would use: restart the process with the fixed program instead',
  ),
  LIBRARY_NOT_LOADED: entry(
    'refused',
    'a library that the patch needs could not be loaded into the process',
    'install it where the loader of the process looks (a container has its own files), then try again',
  ),
  NO_THREAD_LOCAL: entry(
    'refused',
    "the process cannot make room in its threads for the patch's new thread-local variables",
    'see the particulars: a program that is not static has a loader that can; the C library keeps little room for what comes later (glibc: 512 bytes, see its tunable glibc.rtld.optional_static_tls), and musl none; on Windows the process must be able to write into its folder for temporary files and to load a DLL from there. Else hold the new state in an ordinary variable or in shadow data',
  ),
  SEQUENCE_NOT_HIGHER: entry(
    'refused',
    'a patch with the same or a higher sequence number is applied to the same base image',
    'a cumulative patch has a higher one than those that it contains: build it with a higher --sequence, say --force to replace a patch of the same number, or roll back the one that is applied first',
  ),
  PATCH_ID_TAKEN: entry(
    'refused',
    'a patch of the same name and other content is applied to the process',
    'build the new one with a higher --sequence, say --force, or roll back the one that is applied first',
  ),
  EXPORT_IN_USE: entry(
    'refused',
    'a function that the program exports has another signature in the patch, and another module of the process names it',
    'restart the process with plug-ins that were made for the fixed program; a module that holds the name as a text counts, whatever it does with it: ' +
      'then the vendor can keep the function and add one under another name',
  ),
  CONSISTENCY_REQUIRED: entry(
    'refused',
    'the patch is only right if all its functions switch at one instant in which no thread is inside any of them',
    'apply it, and roll it back, with --consistency patch, which is the default',
  ),
  PATCH_AMBIGUOUS: entry('usage', 'the process carries several patches', 'say which with --id; several are undone at one instant'),
  PREDECESSOR_GONE: entry(
    'refused',
    'the process does not hold the patch to roll back to',
    'roll back to the original program (without --to), then apply the patch that you want',
  ),
  VERIFY_FAILED: entry(
    'refused',
    'bytes in the process are not what hotpatch wrote there',
    'another tool has written over them: take that away first, or restart the process',
  ),
  LEDGER_DAMAGED: entry(
    'refused',
    'the ledger that the process carries cannot be read',
    'it was made by a later hotpatch (use that one), or something has written over it (restart the process)',
  ),
  ENGINE_AT_WORK: entry('busy', 'another hotpatch is at work on the process', 'wait until it is done, then try again'),
  BUSY: entry(
    'busy',
    'the process had no safe moment before the deadline',
    'try again later or with a longer --timeout; the thread and the function that were in the way are named',
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
  PROCESS_TRACED: entry(
    'permission',
    'another tracer is attached to the process',
    'end or detach the debugger or tracer that is named, then try again',
  ),
  NO_SAFE_THREAD: entry(
    'busy',
    'no thread of the process could be borrowed for a system call',
    'every thread was inside the kernel without interruption, or on a stack with too little room: try again later',
  ),
  STOP_TIMEOUT: entry(
    'busy',
    'a thread of the process did not stop in time',
    'the thread waits inside the kernel without interruption: try again later',
  ),
  STOP_UNGUARDED: entry(
    'busy',
    'the watchdog that would resume the process if hotpatch were killed does not run',
    'hotpatch starts a second process of its own program for that: see the particulars, free some memory, then try again',
  ),
  CALL_FAULTED: entry(
    'refused',
    'a call inside the process faulted',
    'the function that was called has a defect; the process goes on, and the thread that ran it is where it was before',
  ),
  CALLOUT_CANCELLED: entry(
    'refused',
    "the patch's callback did not let the patch be applied",
    'the callback answered with the code above: ask the author of the patch what it means',
  ),
  CALL_TIMEOUT: entry(
    'busy',
    'a call inside the process did not return in time',
    'another thread of the process holds what the call waits for: try again later',
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
