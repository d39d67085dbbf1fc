/**
 * What a person wants to know of a patch image and the hot patch table has no room for. JSON in a section of its own, which is
 * not mapped: `.hotpatch.manifest` (ELF), `.hpmeta` (PE; discardable).
 */
import { z } from 'zod'

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`))
const rva = z.number().int().min(0).max(0xffffffff)

export const ManifestBase = z.strictObject({
  /** File name without folders. */
  name: z.string().min(1).max(255),
  buildId: z.string().max(128).optional(),
  textSha256: hex(32),
  imageSize: rva,
})

export const ManifestFunction = z.strictObject({
  name: z.string().min(1),
  /** Source or object file. */
  file: z.string(),
  /** In the base image. */
  rva,
  size: rva,
  /** In the patch image. */
  patchRva: rva,
  patchSize: rva,
  redirect: z.enum(['padding', 'entry-nops', 'first-bytes']),
})

export const ManifestSchema = z.strictObject({
  format: z.literal(1),
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  description: z.string().max(4096),
  cves: z.array(z.string().regex(/^CVE-\d{4}-\d{4,}$/)),
  sequence: z.number().int().min(1).max(0xffffffff),
  tool: z.string(),
  base: ManifestBase,
  functions: z.array(ManifestFunction).min(1),
  /** New functions and data that the patch image brings. */
  added: z.array(z.strictObject({ name: z.string(), kind: z.enum(['function', 'data', 'rodata']), patchRva: rva, size: rva })),
  /** Library functions that the patch reaches through the base image's import slots. */
  imports: z.array(z.strictObject({ name: z.string(), library: z.string().optional() })),
})

export type Manifest = z.infer<typeof ManifestSchema>
