/**
 * What a person wants to know of a patch image and the hot patch table has no room for. JSON in a section of its own, which is
 * not mapped: `.hotpatch.manifest` (ELF), `.hpmeta` (PE; discardable).
 */
import { createRequire } from 'node:module'
import type * as Zod from 'zod'

type Z = typeof Zod.z

const hex = (z: Z, bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`))
const rva = (z: Z) => z.number().int().min(0).max(0xffffffff)

const base = (z: Z) =>
  z.strictObject({
    /** File name without folders. */
    name: z.string().min(1).max(255),
    buildId: z.string().max(128).optional(),
    textSha256: hex(z, 32),
    imageSize: rva(z),
  })

const patchedFunction = (z: Z) =>
  z.strictObject({
    name: z.string().min(1),
    /** Source or object file. */
    file: z.string(),
    /** In the base image. */
    rva: rva(z),
    size: rva(z),
    /** In the patch image. */
    patchRva: rva(z),
    patchSize: rva(z),
    redirect: z.enum(['padding', 'entry-nops', 'first-bytes']),
    /** Parts of the old function that the compiler has split off (f.cold), in the base image. Absent: there are none. */
    fragments: z
      .array(z.strictObject({ rva: rva(z), size: rva(z) }))
      .min(1)
      .optional(),
  })

const manifest = (z: Z) =>
  z.strictObject({
    format: z.literal(1),
    id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
    description: z.string().max(4096),
    cves: z.array(z.string().regex(/^CVE-\d{4}-\d{4,}$/)),
    sequence: z.number().int().min(1).max(0xffffffff),
    tool: z.string(),
    base: base(z),
    functions: z.array(patchedFunction(z)).min(1),
    /** New functions and data that the patch image brings. */
    added: z.array(
      z.strictObject({
        name: z.string(),
        /** Source or object file. */
        file: z.string().optional(),
        kind: z.enum(['function', 'data', 'rodata', 'thread-local']),
        patchRva: rva(z),
        size: rva(z),
      }),
    ),
    /**
     * Whether the program can come to hold addresses of the image's code, its writable data, its constants. Absent: nobody knows, so it
     * can.
     */
    escapes: z.strictObject({ code: z.boolean(), data: z.boolean(), constants: z.boolean() }).optional(),
    /** The weakest consistency at which it may be applied and rolled back. Absent: any. */
    consistency: z.literal('patch').optional(),
    /**
     * Exported functions of the base image that take or give something else in the patch: applied only where no other module of the process
     * holds such a name. Absent: there are none.
     */
    mustBeUnused: z.array(z.string().min(1)).min(1).optional(),
    /** The patches that were made in one update, this one among them: for a program and its library. Absent: it was made alone. */
    together: z
      .array(z.strictObject({ id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/), base: z.string().min(1).max(255) }))
      .min(2)
      .optional(),
    /** Reasons against it that its author has looked into and let through. Absent: there are none. */
    accepted: z
      .array(z.strictObject({ code: z.string().regex(/^[A-Z_]+$/), symbol: z.string(), file: z.string(), detail: z.string() }))
      .min(1)
      .optional(),
    /** The patch's callback, exported as __PatchMainCallout__. Absent: it has none. */
    callout: rva(z).optional(),
    /** Library functions that the patch reaches through the base image's import slots. */
    imports: z.array(z.strictObject({ name: z.string(), library: z.string().optional() })),
  })

export type Manifest = Zod.z.infer<ReturnType<typeof manifest>>

let built: ReturnType<typeof manifest> | undefined

/** The schema, made when it is first asked for: zod takes some 70 ms to load, and most commands never look at a manifest. */
export function manifestSchema(): ReturnType<typeof manifest> {
  built ??= manifest((createRequire(import.meta.url)('zod') as typeof Zod).z)
  return built
}
