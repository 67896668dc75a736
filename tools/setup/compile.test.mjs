import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compileCommand, linkCommand } from './compile.mjs';
import { findCompiler } from './machine.mjs';
import { temporaryFolder, writeTree } from './testing.mjs';
import { ncclHeaders, readToolchain } from './toolchain.mjs';

const compiler = findCompiler(process.env);

const toolchain = (libtorch, more = {}) => ({ compiler: 'g++', standard: 17, gloo: false, cuda: false, oldStrings: false, modules: '/m', libtorch: { version: '2.7.1', include: '/opt/torch/include', lib: '/opt/torch/lib', from: '', ...libtorch }, ...more });

describe('the commands', () => {
  it("leave Debian's headers to the compiler, whose order of folders C++'s own need", () => {
    const command = compileCommand(toolchain({ kind: 'debian', include: '/usr/include', lib: '/usr/lib/x86_64-linux-gnu' }), 'a.cc', 'a.o');
    expect(command).not.toContain('/usr/include');
    expect(command).toContain('/usr/include/torch/csrc/api/include');
    expect(command.slice(-4)).toEqual(['-c', 'a.cc', '-o', 'a.o']);
    expect(linkCommand(toolchain({ kind: 'debian' }), ['a.o'], 'x.node').join(' ')).not.toMatch(/-L|rpath/);
  });

  it("name pip's folders, the strings and CUDA's half", () => {
    const pip = toolchain({ kind: 'pip' }, { cuda: true, nccl: ['/opt/nvidia/nccl/include'], oldStrings: true, gloo: true, standard: 20 });
    expect(compileCommand(pip, 'a.cc', 'a.o')).toEqual(expect.arrayContaining(['-std=c++20', '-D_GLIBCXX_USE_CXX11_ABI=0', '-DUSE_C10D_GLOO', '-DUSE_C10D_NCCL', '/opt/torch/include', '/opt/nvidia/nccl/include']));
    expect(linkCommand(pip, ['a.o'], 'x.node')).toEqual(expect.arrayContaining(['-Wl,-rpath,/opt/torch/lib', '-ltorch_cuda']));
  });
});

describe("NCCL's headers", () => {
  it('are those of all folders together, or none', () => {
    const home = temporaryFolder(), torch = { lib: join(home, 'torch', 'lib') }, none = join(home, 'no-toolkit');
    writeTree(home, { 'torch/lib/a': '', 'nvidia/nccl/include/nccl.h': '', 'nvidia/cu13/include/cuda_runtime_api.h': '', 'nvidia/cu13/include/crt/host_config.h': '' });
    expect(ncclHeaders(torch, none)).toEqual([]);
    writeTree(home, { 'toolkit/nv/target': '' });
    expect(ncclHeaders(torch, join(home, 'toolkit')).map((folder) => folder.slice(home.length + 1)).sort()).toEqual(['nvidia/cu13/include', 'nvidia/nccl/include', 'toolkit']);
  });
});

describe.skipIf(!compiler)('a library that lacks a name (where there is a C++ compiler)', () => {
  it('is found out when the addon is loaded, and not at the first call', () => {
    const home = temporaryFolder(), lib = join(home, 'lib');
    writeTree(home, { 'a.cc': 'extern int elsewhere();\nextern "C" int never_called() { return elsewhere(); }\n', 'lib/empty.cc': '' });
    for (const name of ['torch_cpu', 'c10']) execFileSync(compiler, ['-shared', '-fPIC', join(lib, 'empty.cc'), '-o', join(lib, `lib${name}.so`)]);
    execFileSync(compiler, ['-fPIC', '-c', join(home, 'a.cc'), '-o', join(home, 'a.o')]);
    const [program, ...args] = linkCommand(toolchain({ kind: 'pip', lib }, { compiler }), [join(home, 'a.o')], join(home, 'x.node'));
    execFileSync(program, args);
    expect(() => execFileSync(process.execPath, ['-e', 'require(process.argv[1])', join(home, 'x.node')], { stdio: 'pipe' })).toThrow(/undefined symbol: .*elsewhere/);
  });
});

describe('the toolchain', () => {
  it.each([
    ['what CMake is told, first', 'pip', '2.5.1', 'set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI=1")', false],
    ['the old strings where CMake is told so', 'LIBTORCH', '2.5.1', 'set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI=0")', true],
    ["the old strings of pip's before 2.6", 'pip', '2.5.1', '', true],
    ["the new ones of pip's since", 'pip', '2.6.0', '', false],
    ["the new ones of anyone else's", 'LIBTORCH', '2.1.0', '', false],
  ])('has %s', (_what, kind, version, cmake, oldStrings) => {
    const home = temporaryFolder();
    writeTree(home, { 'share/cmake/Torch/TorchConfig.cmake': cmake, 'lib/libtorch_cuda.so': '', 'include/ATen/ATen.h': '__cplusplus < 201703L' });
    const libtorch = { kind, version, include: join(home, 'include'), lib: join(home, 'lib'), from: '' };
    expect(readToolchain(libtorch, 'g++', '/m')).toMatchObject({ oldStrings, cuda: true, gloo: false, standard: 17 });
  });
});
