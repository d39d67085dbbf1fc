/**
 * Why the builder refuses a difference, or remarks on it: one table, code → what it is and what to do. docs/errors.md lists the same
 * codes.
 */

interface ReasonEntry {
  /** refuse: no patch is made. note: worth knowing, stands in nobody's way. */
  readonly weight: 'refuse' | 'note'
  /** Whether `--accept` can let it through: a patch can be made, and whether it is right depends on what only a person knows. */
  readonly acceptable: boolean
  /** What was found, without the particulars. */
  readonly what: string
  /** What the author of the fix can do about it. */
  readonly todo: string
}

const refuse = (what: string, todo: string): ReasonEntry => ({ weight: 'refuse', acceptable: false, what, todo })
const judgement = (what: string, todo: string): ReasonEntry => ({ weight: 'refuse', acceptable: true, what, todo })
const note = (what: string, todo: string): ReasonEntry => ({ weight: 'note', acceptable: false, what, todo })

export const REASONS = {
  // Data that lives in the running process.
  DATA_CHANGED: judgement(
    'the initial value of existing writable data changed; the running process has its own value there by now',
    'keep the initial value, and set the new one in code that the patch changes',
  ),
  DATA_LAYOUT: refuse(
    'the size, alignment or kind of an existing variable changed; the running process has the old one',
    'keep the old variable as it is and add a new one beside it',
  ),
  CONSTANT_BECAME_STATE: judgement(
    'a function takes from a new variable what was a constant; what the running process has made with the constant (hash values, keys) fits no more',
    'let this fix wait for a restart, unless nothing that is made with the number is kept',
  ),
  RODATA_CHANGED: judgement(
    'read-only data changed that code outside the patch goes on using',
    'add a table under a new name and use it in the functions that the fix changes',
  ),
  TLS_CHANGED: refuse(
    'thread-local data changed, or was added with an address as its initial value or a wide alignment (PE: more than 16 bytes); every running thread has its block already',
    'keep thread-local variables as they are; new ones are let through, begin them with a number; else hold new state in shadow data attached to an object of the thread, or in an ordinary variable',
  ),
  TLS_UNSUPPORTED: refuse(
    'a function that would be patched uses thread-local data to which nothing in the base image leads, or new ones together with those of a library or of a PE image by their distance',
    'see the particulars; a new variable of a library may need __attribute__((tls_model("initial-exec"))), one of PE a function of its own with __attribute__((noinline)); else move the change into a function that uses no thread-local variable (errno is none)',
  ),

  // Types of what lives in the running process.
  LAYOUT_CHANGED: judgement(
    'the layout of a type changed that objects in the running process have; the new code would read and write them wrongly',
    'leave the type as it is and keep new members beside it (shadow data); docs/layout-rules.md says which changes are let through',
  ),
  ENUM_CHANGED: judgement(
    'the meaning of an enumeration changed; the running process holds values of the old one',
    'keep the values that were there, and give new names the values behind them',
  ),
  SIGNATURE_CHANGED: judgement(
    'the signature of a function changed that is called from an object which was not compiled anew',
    'compile both builds completely, or keep the function and add one with the new signature under another name',
  ),
  EXPORT_CHANGED: judgement(
    'a function or variable that other modules use was removed, or has another signature',
    'keep it as it is and add the new one under another name',
  ),
  LAYOUT_SAFE: note(
    'the layout of a type changed in a way that no object in the running process can notice',
    'nothing to do; docs/layout-rules.md has the rule and its proof',
  ),

  // References.
  IMPORT_NEW: refuse(
    'the fix uses a function or variable that no object defines, the base image does not import, and no library that was looked into has',
    'name the library with --library (a shared object, an import library), which the process loads if need be, or use another function',
  ),
  NEW_IN_ANOTHER_IMAGE: refuse(
    'the fix uses a function or variable that is new in another base image of the update; what a patch image brings is not seen by other modules',
    'keep what is new in the module that uses it, or let this fix wait for a restart',
  ),
  STATE_OF_SEVERAL: refuse(
    'a new variable would come with the patches for several base images, each with a value of its own, and no object of the build before tells whose it is',
    'define the variable in an object that the build before has, or build the patches one by one where each program is to have its own',
  ),
  IMPORT_ADDRESS: refuse(
    'the fix takes the address of a library function that the base image only calls; its final address is not known before it runs',
    'compile both builds with -fPIC, which reaches it through a pointer, or name its library with --library',
  ),
  SYMBOL_MISSING: refuse(
    'something that the patch refers to cannot be found in the base image',
    'give the base image with its symbols (not stripped, or with --symbols), as it was linked from the objects of the build before the fix',
  ),
  SYMBOL_AMBIGUOUS: refuse(
    'something that the patch refers to can be more than one thing in the base image, and nothing tells which',
    'give the base image with its symbols (--symbols), or rename one of the symbols of that name in the next baseline',
  ),
  REMOVED_REFERENCED: refuse(
    'something was removed that code outside the patch goes on using',
    'build both trees completely, so that no object is left over from another build',
  ),
  ABSOLUTE_ADDRESS: refuse(
    'the new code holds a 32-bit absolute address, and the base image may lie anywhere in 64 bits',
    'compile both builds with -fPIE or -fPIC',
  ),
  REFERENCE_UNSUPPORTED: refuse(
    'the new code refers to something in a way that a patch image has no record for',
    'compile with the default code model; see the particulars for the kind of reference',
  ),
  OUT_OF_REACH: refuse(
    'a reference lies outside what its field can express',
    'see the particulars; report it where the image is smaller than 2 GB',
  ),

  // Functions that cannot be redirected.
  FUNCTION_TOO_SHORT: refuse(
    'a function is too short to hold the jump that redirects it',
    'compile the next baseline with -fpatchable-function-entry=16,14; patch a caller of the function for now',
  ),
  REDIRECT_UNSAFE: refuse(
    'a function cannot be redirected safely at its first bytes',
    'compile the next baseline with -fpatchable-function-entry=16,14; patch a caller of the function for now',
  ),
  LANDING_PAD_LOST: judgement(
    'a function began with a landing pad for indirect calls (endbr64, bti) and begins with none after the fix; where the processor checks them, ' +
      'the jump into the patch would end the process',
    'compile both builds with the same -fcf-protection or -mbranch-protection',
  ),
  IFUNC: refuse(
    'an indirect function (IFUNC) is new or changed, or the base image has no slot with what it has chosen; its resolver has run already',
    'change the implementations that it chooses between, not the resolver',
  ),
  STARTUP_CHANGED: judgement(
    'what runs when the program starts or ends changed (constructors, destructors, .init_array)',
    'do the initialisation at first use, in code that the patch changes',
  ),
  SECTION_SHARED: refuse(
    'a changed function shares its section with others, so that references between them are not recorded',
    'compile with -ffunction-sections -fdata-sections',
  ),
  MACHINE_MISMATCH: refuse(
    'an object and the base image (or two objects) are for different processors or systems',
    'give objects and base image of one build',
  ),

  // The base image.
  BASE_MISMATCH: refuse(
    "the base image's bytes differ from those of the object of the build before the fix",
    'give the base image that was linked from exactly these objects; rebuild with the same compiler and flags',
  ),

  // Worth knowing.
  EXPORT_REMOVED: note(
    'the fix removes a function or variable that the program exports (linkers export all of a program with --export-dynamic); it stays in the ' +
      'running process as it was, and a plug-in that uses it goes on with the old one',
    'nothing to do unless a plug-in uses it: then keep it as it is',
  ),
  EXPORT_RETYPED: note(
    'the signature of a function changed that the program exports (linkers export all of a program with --export-dynamic); the patch is refused by ' +
      'each process that has loaded a module in which the name occurs',
    'nothing to do unless a plug-in uses it: then keep it as it is and add the new one under another name',
  ),
  NOT_IN_BASE: note(
    'the base image does not hold it (another program of the same build does, or the linker dropped it)',
    'nothing to do if another program of the build uses it: build a patch for that one too',
  ),
  IMPORT_ADDED: note(
    'the fix uses a function or variable of a library that no object used before',
    'nothing to do: the patch image imports it; build asks for --library where it does not find it',
  ),
  RUNS_ONCE: note(
    'the function runs once, when the program starts: a running process has left it behind or is still inside it',
    'nothing to do if only new processes need the change',
  ),
  LINES_ONLY: note('only line numbers in the code moved (`__LINE__` in an assert); what runs serves', 'nothing to do'),
  UNWIND_ONLY: note('only unwind information changed, not the code', 'nothing to do'),
} as const satisfies Record<string, ReasonEntry>

export type ReasonCode = keyof typeof REASONS

/** One reason, met at one symbol. */
export interface Reason {
  readonly code: ReasonCode
  readonly weight: 'refuse' | 'note'
  /** The linker's name of what it is about. */
  readonly symbol: string
  /** The object file, as its path in the folder given. */
  readonly file: string
  /** What exactly was found here, one sentence without a full stop. */
  readonly detail: string
}

export const reason = (code: ReasonCode, symbol: string, file: string, detail: string): Reason => ({
  code,
  weight: REASONS[code].weight,
  symbol,
  file,
  detail,
})

export const refuses = (r: Reason): boolean => r.weight === 'refuse'

/** Sorted and without repetition, so that the same inputs give the same report. */
export function sortReasons(reasons: Iterable<Reason>): Reason[] {
  const seen = new Map<string, Reason>()
  for (const r of reasons) seen.set([r.file, r.symbol, r.code, r.detail].join('\0'), r)
  return [...seen.entries()].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, r]) => r)
}
