/** Libraries as the builder sees them: which of them defines a name that the base image does not import. */

/** A function or variable of another module that the patch image imports by itself. */
export interface NewImport {
  readonly name: string
  /** As loaders look for it: a soname, the name of a DLL. */
  readonly library: string
  /** Of the symbol (`GLIBC_2.34`); undefined where the library has none. */
  readonly version: string | undefined
  readonly kind: 'function' | 'data'
}

export interface Libraries {
  /** undefined: none of them defines it. Several: in the order in which a linker would look. */
  find(name: string): NewImport | undefined
  /** What was looked into and what could not be found, for messages: one sentence without a full stop. */
  readonly searched: string
}

export const NO_LIBRARIES: Libraries = { find: () => undefined, searched: 'no library was looked into' }
