/** The directions of import between the rooms: each may import from those before it in `rooms`, never the other way. */
const rooms = ['binary', 'machine', 'patch', 'builder', 'sources', 'os', 'process', 'engine', 'servicing', 'cli']
const forbidden = rooms.map((room, index) => ({
  name: `${room}-imports-upwards`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: { path: `^src/(${rooms.slice(index + 1).join('|') || '-'})/` },
}))
module.exports = {
  forbidden: [
    ...forbidden,
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'koffi-in-os-only', severity: 'error', from: { path: '^src', pathNot: '^src/os/' }, to: { path: 'node_modules/koffi' } },
    {
      name: 'builder-knows-no-live-process',
      severity: 'error',
      from: { path: '^src/builder/' },
      to: { path: '^src/(os|process|engine)/' },
    },
    {
      name: 'binary-knows-no-patch',
      severity: 'error',
      from: { path: '^src/(binary|machine)/' },
      to: { path: '^src/(patch|builder|process|engine)/' },
    },
    { name: 'process-knows-no-builder', severity: 'error', from: { path: '^src/(process|engine)/' }, to: { path: '^src/builder/' } },
    {
      name: 'binary-and-machine-apart',
      severity: 'error',
      from: { path: '^src/machine/' },
      to: { path: '^src/binary/(pe|coff|elf|archive)/' },
    },
    {
      name: 'sources-know-no-formats',
      severity: 'error',
      from: { path: '^src/sources/' },
      to: { path: '^src/(binary|machine|patch|builder|os|process|engine)/' },
    },
    {
      name: 'programs-are-started-in-two-rooms',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/(sources|process)/|\\.test\\.ts$|/testing/' },
      to: { path: '^(node:)?child_process$' },
    },
    {
      name: 'tests-stay-out',
      severity: 'error',
      from: { path: '^src', pathNot: '\\.test\\.ts$|/testing/' },
      to: { path: '\\.test\\.ts$|/testing/' },
    },
  ],
  options: { doNotFollow: { path: 'node_modules' }, tsConfig: { fileName: 'tsconfig.json' }, tsPreCompilationDeps: true },
}
