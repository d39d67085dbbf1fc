/**
 * What the rest of hotpatch needs of a processor, as a record of data and functions without state: x64/architecture.ts, arm64/architecture.ts.
 * Code is bytes here; offsets count from its start.
 */
import type { FrameFunction } from '../binary/dwarf/frames.ts'
import type { EdgeKind } from './edges.ts'
import type { EncodedRedirect, RedirectPlan, RedirectRefusal, RedirectSite } from './redirect.ts'
import type { FrameTable } from './x64/frames.ts'
import type { FunctionsByNeed } from './x64/frames-by-need.ts'
import type { FrameModule, FrameVisitor, StackMemory, WalkEnd } from './x64/unwind.ts'

export type Machine = 'x64' | 'arm64'

export interface Architecture {
  readonly machine: Machine
  readonly redirects: Redirects
  readonly code: CodeReading
  readonly linking: Linking
  readonly unwinding: Unwinding
}

/** How functions are redirected: see redirect.ts. */
export interface Redirects {
  /** How far a redirect reaches to its stub, in bytes, both ways. */
  readonly reach: bigint
  /** Of a stub of the hotpatch address table, in bytes. */
  readonly stubSize: number
  /** A page full of stubs, each of which jumps through the pointer exactly one page behind it. */
  readonly stubPage: () => Uint8Array
  readonly plan: (site: RedirectSite) => RedirectPlan | RedirectRefusal
  /** Throws REDIRECT_OUT_OF_REACH. */
  readonly encode: (plan: RedirectPlan, entry: bigint, stub: bigint) => EncodedRedirect
  /** Where a call that comes through the redirect enters the new function. `before` is the old function, `after` the new one, from their entries. */
  readonly landing: (before: Uint8Array, after: Uint8Array) => Landing
  /** Whether code begins with what an indirect call must find where the processor checks them (CET's `endbr64`; BTI). */
  readonly hasLandingPad: (code: Uint8Array) => boolean
}

export type Landing =
  /** So many bytes behind its entry, since what is before that was executed in the old function. */
  | { readonly at: number }
  /** Through code that takes back what was executed in the old function. Its edges lead to the new function's entry. */
  | { readonly through: StubTemplate }

export interface CodeReading {
  /** Whether execution may run out of a function's end into what lies behind it. Code that cannot be decoded counts. */
  readonly fallsThrough: (code: Uint8Array) => boolean
  /** Whether it is nothing but what assemblers fill gaps between functions with. */
  readonly isPadding: (code: Uint8Array) => boolean
  /** Direct references of the code to what lies outside of it. undefined: it cannot be decoded. */
  readonly outwardReferences: (code: Uint8Array) => readonly OutwardReference[] | undefined
  /**
   * What a PC-relative reference counts from, from the field at `field` on: on x64 the end of the instruction that holds it. `start`: where an
   * instruction is known to begin. Throws CODE_UNDECODABLE.
   */
  readonly originOf: (code: Uint8Array, field: number, start?: number) => number
  /** Numbers that the code computes with, as far as they stand in instructions and do not move the stack pointer. */
  readonly constants: (code: Uint8Array) => readonly bigint[]
  /**
   * Every use of a number from 128 on (smaller ones stand in instructions for too many other things), frames' sizes aside. A product is not seen that
   * is computed by shifts and additions alone.
   */
  readonly constantUses: (code: Uint8Array, value: number) => readonly ConstantUse[]
  /** Of `places`, addresses like `start`, those that code which lies at `start` may make by itself: none is left out, others may be among them. */
  readonly mayAddress: (code: Uint8Array, start: number, places: ReadonlySet<number>) => ReadonlySet<number>
  /** Whether code works at an address, of which the low 12 bits count: some processors have errata. */
  readonly mayLieAt: (code: Uint8Array, address: number) => boolean
}

/** Where code has a number. */
export interface ConstantUse {
  /**
   * The instructions by whose references is known what is called next: the call itself, the load of the pointer that it goes through, and the load of
   * where that lies. Empty: nothing is called.
   */
  readonly namedBy: readonly CodeRange[]
  /** Whether the second argument of that call is zero. */
  readonly zeroSecond: boolean
  /** Whether the number is for that call, and for nothing else. */
  readonly isItsArgument: boolean
}

export interface CodeRange {
  readonly offset: number
  readonly length: number
}

/** An instruction that refers to what lies outside of the code it is in. */
export interface OutwardReference {
  /** Of the instruction. */
  readonly offset: number
  readonly length: number
  readonly kind: EdgeKind
  /** From the start of the code. */
  readonly target: number
  /** Offset of the field; undefined: no edge kind is for such a field. */
  readonly field: () => number | undefined
  /** From the field to what the reference counts from. */
  readonly origin: (field: number) => number
}

/** What linkers do to code, and what hotpatch as a linker needs. */
export interface Linking {
  /** The edge kind of a field that holds the distance or address of a slot instead of that of what the slot leads to; undefined: there is none. */
  readonly throughSlot: (got: EdgeKind) => EdgeKind | undefined
  /** Whether the instruction that uses a GOT slot is itself a call or jump through it. */
  readonly jumpsThrough: (content: Uint8Array | undefined, field: number) => boolean
  /** Turns an instruction that makes an address, `field` bytes into the code, into one that loads it from a slot; false: it is none. */
  readonly loadInstead?: (content: Uint8Array | undefined, field: number) => boolean
  /** Whether the instruction at a reference reads or writes what lies there, and keeps no address. */
  readonly isAccess: (kind: EdgeKind, content: Uint8Array | undefined, field: number) => boolean
  /** Jumps to a place; and jumps to where a pointer leads. The addends of their edges make up for what the field counts from. */
  readonly jumpStub: StubTemplate
  readonly pointerStub: StubTemplate
  readonly threadLocal: ThreadLocalRewriting
  /** How far a call or jump reaches, in bytes, both ways. */
  readonly branchReach: number
  /** What fills the room between functions. */
  readonly fill: number
  /**
   * Marks in `ignored` (a bit set: may differ) what a linker may have rewritten around a field of an object's code, beyond the field itself.
   * `image` is the code as it was linked, in which the field is at `at`.
   */
  readonly excuse: (
    kind: EdgeKind,
    threadLocal: boolean,
    content: Uint8Array,
    field: number,
    image: Uint8Array,
    at: number,
    ignored: Uint8Array,
  ) => void
  /** Where a field of linked code leads. undefined: it does not tell. */
  readonly seen: (reference: LinkedReference, image: LinkedImage) => SeenTarget | undefined
  /** The slot that a stub of the linker at `rva` jumps through (a PLT entry, an import thunk). undefined: it is no such stub. */
  readonly slotOfStub: (image: LinkedImage, rva: number) => number | undefined
}

/**
 * Accesses to thread-local data. Fields are offsets in `content`, which is rewritten in place; false, undefined: the bytes are no sequence that is
 * known, and stay. A distance is from the thread pointer to what is accessed, or from the start of the module's block where the code has that.
 */
export interface ThreadLocalRewriting {
  /** From the field of an access to that of its call of `__tls_get_addr`. */
  readonly callOf: (kind: EdgeKind, content: Uint8Array | undefined, field: number) => number | undefined
  /** Makes the distance a part of the code. */
  readonly toLocalExec: (kind: EdgeKind, content: Uint8Array, field: number, distance: number) => boolean
  /** Loads it from a slot. */
  readonly toInitialExec: (kind: EdgeKind, content: Uint8Array, field: number) => SlotAccess | undefined
  /** Of code that stays and gets a slot of its own. */
  readonly withSlot: (kind: EdgeKind, field: number) => SlotAccess | undefined
  /** Whether linked code, `image` from the field on, has the distance. undefined: it does not tell. */
  readonly agrees: (kind: EdgeKind, image: Uint8Array, distance: number) => boolean | undefined
}

/** The field that leads to a slot with the edge kind that it has, in an instruction of an access; 'no-field': others of the access have it. */
export type SlotAccess = { readonly field: number; readonly kind: EdgeKind } | 'no-field'

export interface StubTemplate {
  readonly content: Uint8Array
  readonly edges: readonly { readonly offset: number; readonly kind: EdgeKind; readonly addend: number }[]
}

export interface LinkedReference {
  readonly kind: EdgeKind
  readonly addend: number
  /** RVA of the field. */
  readonly place: number
  /** Other fields of the same code for the same target and addend; `distance` is from this one. */
  readonly siblings: () => readonly { readonly kind: EdgeKind; readonly distance: number }[]
  /** The bytes of the object that hold the field, and where it is in them. */
  readonly content: Uint8Array | undefined
  readonly field: number
}

/** A linked image as code is read from it. */
export interface LinkedImage {
  readonly preferredBase: bigint
  readonly relocatable: boolean
  bytes(rva: number, length: number): Uint8Array | undefined
}

export type SeenTarget =
  /** Where the target itself lies (without the addend). */
  | { readonly at: 'rva'; readonly rva: number }
  /** Reached through a slot that the loader fills. */
  | { readonly at: 'slot'; readonly rva: number }
  /** Thread-local: from the start of the module's block. */
  | { readonly at: 'block'; readonly offset: number }

/** Walking the stacks of stopped threads. Registers have DWARF's numbers of the processor. */
export interface Unwinding {
  readonly registerCount: number
  readonly stackPointer: number
  readonly framePointer: number
  /** Of a frame: where the thread stands, or will go on. */
  readonly instructionPointer: number
  /** Whose rule in unwind data says where the return address is. */
  readonly returnAddress: number
  /** The bits of the upper half of a word in memory that belong to an address: what signs or tags one is no part of it. */
  readonly upperMask: number
  /** `modules` by ascending start, not overlapping. */
  readonly walker: (modules: readonly FrameModule[]) => StackWalker
  readonly frameTable: (functions: Iterable<FrameFunction>) => FrameTable
  /** Each function is compiled when it is first met. */
  readonly framesByNeed: (functions: FunctionsByNeed) => FrameTable
  /** Of a whole .eh_frame section at `address`; RVAs count from `origin`. Throws nothing. */
  readonly ehFrameTable: (section: Uint8Array, address: number, origin: number) => FrameTable
  /** For code that moves nothing anywhere. */
  readonly leafTable: () => FrameTable
}

export interface StackWalker {
  /** NaN: not known. Filled by the caller before each walk. */
  readonly registers: Float64Array
  /** After a walk: the stack pointer of the last frame seen, where a search of the rest has to begin. */
  readonly stackPointer: number
  walk(memory: StackMemory, visit: FrameVisitor, maxDepth?: number): WalkEnd
}
