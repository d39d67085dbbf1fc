import { describe, expect, it } from 'vitest'
import { modulesByPath } from './module-paths.ts'

const module = (file: string, name = file) => ({ name, file })
const found = (modules: readonly ReturnType<typeof module>[], ...paths: string[]) =>
  Object.fromEntries([...modulesByPath(modules, paths)].map(([path, near]) => [path, near.map((n) => [n.module.name, n.common])]))

describe('modules and objects', () => {
  it('are paired from the end of their paths, whatever system those are of', () => {
    const near = 'D:\\a\\_work\\Release\\obj\\winpty\\src\\shared\\Buffer.obj'
    const far = 'D:\\a\\_work\\Release\\obj\\winpty\\src\\agent\\Buffer.obj'
    expect(found([module(near), module(far)], 'src/shared/buffer.obj', 'src/agent/Buffer.obj')).toEqual({
      'src/shared/buffer.obj': [[near, 3]],
      'src/agent/Buffer.obj': [[far, 3]],
    })
  })

  it('know members of archives as lld and as Microsoft’s linker name them, and their objects outside of one', () => {
    const lld = module('/src/both.lib', 'sub/list.obj')
    const microsoft = module('C:\\VC\\lib\\x64\\LIBCMT.lib', 'D:\\crt\\objr\\amd64\\delete_scalar.obj')
    expect(found([lld], 'both.lib(sub/list.obj)', 'other.lib(sub/list.obj)')).toEqual({ 'both.lib(sub/list.obj)': [['sub/list.obj', 3]] })
    expect(found([lld], 'sub/list.obj')).toEqual({ 'sub/list.obj': [['sub/list.obj', 2]] })
    expect(Object.keys(found([microsoft], 'lib/libcmt.lib(D:\\crt\\objr\\amd64\\delete_scalar.obj)'))).toHaveLength(1)
  })

  it('are not paired where two objects are as near; of two modules the nearer comes first', () => {
    expect(found([module('/src/main.obj')], 'a/main.obj', 'b/main.obj')).toEqual({})
    expect(found([module('/crt/main.obj'), module('/src/app/main.obj')], 'app/main.obj')).toEqual({
      'app/main.obj': [
        ['/src/app/main.obj', 2],
        ['/crt/main.obj', 1],
      ],
    })
    expect(found([module('* Linker *', '')], 'app/main.obj')).toEqual({})
  })
})
