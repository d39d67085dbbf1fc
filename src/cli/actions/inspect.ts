import { type InspectedImage, type InspectedObjects, type InspectedPatch, type Inspection, inspectFile } from '../../builder/inspect.ts'
import { type Answer, done } from '../answer.ts'
import { dim, hex, plural, strong, table } from '../words.ts'
import { acceptedLines } from './accepted.ts'
import { ownImportLines } from './imports.ts'

export function inspect(file: string): Answer {
  const inspection = inspectFile(file)
  return done(inspection.kind, inspection, words(inspection))
}

function words(inspection: Inspection): string[] {
  switch (inspection.kind) {
    case 'patch':
      return patchWords(inspection)
    case 'image':
      return imageWords(inspection)
    case 'objects':
      return inspection.objects.flatMap(objectWords)
  }
}

const identity = (image: { buildId: string | undefined; timeDateStamp: number; checkSum: number; textSha256: string }): string[] => [
  ...(image.buildId === undefined ? [] : [`  build id        ${image.buildId}`]),
  `  time stamp      ${hex(image.timeDateStamp, 8)}, check sum ${hex(image.checkSum, 8)}`,
  `  SHA-256 of text ${image.textSha256}`,
]

function patchWords(patch: InspectedPatch): string[] {
  return [
    `${strong(patch.id)}: a patch image (${patch.format.toUpperCase()}, ${patch.machine}), sequence ${patch.sequence}, for ${strong(patch.base.name)}`,
    ...(patch.description === '' ? [] : [`  ${patch.description}`]),
    ...(patch.cves.length === 0 ? [] : [`  ${patch.cves.join(' ')}`]),
    ...identity(patch.base),
    '',
    ...table(
      [
        { title: 'function' },
        { title: 'file' },
        { title: 'RVA', align: 'right' },
        { title: 'size', align: 'right' },
        { title: 'new RVA', align: 'right' },
        { title: 'new size', align: 'right' },
        { title: 'redirect' },
        { title: 'expects' },
      ],
      patch.functions.map((f) => [
        strong(f.name),
        f.file,
        hex(f.rva),
        String(f.size),
        hex(f.patchRva),
        String(f.patchSize),
        f.redirect,
        f.originalBytes,
      ]),
    ),
    ...(patch.added.length === 0
      ? []
      : ['', `  brings: ${patch.added.map(({ name, kind, size }) => `${name} (${kind}, ${size})`).join(', ')}`]),
    ...(patch.imports.length === 0 ? [] : [`  reaches through the base image: ${patch.imports.map(({ name }) => name).join(', ')}`]),
    ...(patch.consistency === undefined ? [] : ['  applied with --consistency patch only: all its functions switch at one instant']),
    ...(patch.mustBeUnused.length === 0
      ? []
      : [`  applied only where no other module names an export whose signature changed: ${patch.mustBeUnused.join(', ')}`]),
    ...(patch.together === undefined
      ? []
      : [`  made in one update: ${patch.together.map(({ id, base }) => `${id} (${base})`).join(', ')}`]),
    ...acceptedLines(patch.accepted),
    ...ownImportLines(patch.ownImports),
    '',
    `  hot patch table version ${patch.table.version}, ${plural(patch.table.extraPatchSize, 'extra word')} a record`,
    ...table(
      [{ title: 'chunk' }, { title: 'written into' }, { title: 'records', align: 'right' }],
      patch.table.chunks.map(({ type, inverse, records }) => [type, inverse ? 'patch image' : 'base image', String(records)]),
      '    ',
    ),
    dim(`  segments: ${patch.segments.map(({ rva, size, protection }) => `${hex(rva)}+${hex(size)} ${protection}`).join(', ')}`),
    dim(`  SHA-256 of the file ${patch.sha256}, made by ${patch.tool}`),
  ]
}

function imageWords(image: InspectedImage): string[] {
  const verdicts = Object.entries(image.hotpatchable).sort(([, a], [, b]) => b - a)
  return [
    `${strong(image.name)}: ${image.format.toUpperCase()}, ${image.machine}, ${hex(image.imageSize)} bytes in memory, ${plural(image.importSlots, 'import slot')}`,
    ...identity(image),
    '',
    ...(image.functions.length === 0
      ? ['  No functions with sizes: the image is stripped. Keep its symbols (debug file, PDB) to build patches with.']
      : table(
          [
            { title: 'function' },
            { title: 'file' },
            { title: 'RVA', align: 'right' },
            { title: 'size', align: 'right' },
            { title: 'redirect' },
          ],
          image.functions.map((f) => [
            strong(f.name),
            f.file ?? '',
            hex(f.rva),
            String(f.size),
            f.redirect ?? dim(`${f.refused?.code}: ${f.refused?.why}`),
          ]),
        )),
    '',
    `  ${plural(image.functions.length, 'function')}: ${verdicts.map(([verdict, count]) => `${count} ${verdict}`).join(', ')}`,
  ]
}

function objectWords(object: InspectedObjects['objects'][number]): string[] {
  const rows = [...object.functions, ...object.data].map((block) => [
    block.kind,
    strong(block.name),
    block.binding,
    String(block.size),
    String(block.references),
  ])
  return [
    `${strong(object.path)}: ${object.format.toUpperCase()} object, ${object.machine}${object.sourceFile ? `, from ${object.sourceFile}` : ''}`,
    ...table(
      [
        { title: 'kind' },
        { title: 'name' },
        { title: 'binding' },
        { title: 'size', align: 'right' },
        { title: 'references', align: 'right' },
      ],
      rows,
    ),
    ...(object.undefined.length === 0 ? [] : [dim(`  takes from elsewhere: ${object.undefined.join(' ')}`)]),
    ...object.notes.map((note) => dim(`  note: ${note}`)),
  ]
}
