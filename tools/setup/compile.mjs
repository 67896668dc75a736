import { join } from 'node:path';

/**
 * @typedef {{
 *   compiler: string, standard: 17 | 20, libtorch: import('./engine.mjs').Libtorch, gloo: boolean, cuda: boolean, nccl?: string[],
 *   oldStrings: boolean, openmp?: boolean, modules: string
 * }} Toolchain
 *   `openmp`: the compiler's threads are those of the OpenMP runtime that libtorch brings along; `gloo`: its headers are there; `cuda`: libtorch has CUDA's half, and all that that needs; `nccl`: the folders of CUDA's and NCCL's headers, where both are there; `oldStrings`: libtorch is compiled with the strings of before
 *   GCC 5 (`_GLIBCXX_USE_CXX11_ABI=0`), as pip's were until 2.6; `modules`: the folder node_modules
 */

/** The folder that the compiler looks into by itself. Named once more, it comes before C++'s own, whose `#include_next` then finds nothing. */
const DEFAULT_INCLUDE = '/usr/include';

/** What a source needs that speaks to Node. */
export const nodeFlags = (modules) => ['-DNAPI_VERSION=8', '-DNODE_ADDON_API_CPP_EXCEPTIONS', '-isystem', join(modules, 'node-addon-api'), '-isystem', join(modules, 'node-api-headers', 'include')];

/**
 * The flags of every source. Headers that aren't ours are system headers: their warnings are not ours either.
 * @param {Toolchain} toolchain
 * @returns {string[]}
 */
export function compileFlags({ standard, libtorch, gloo, nccl = [], oldStrings, openmp = false, modules }) {
  const { include } = libtorch;
  const headers = [join(include, 'torch', 'csrc', 'api', 'include'), include, ...nccl];
  return [
    '-O3',
    // A square root that might set errno can't be vectorised.
    '-fno-math-errno',
    `-std=c++${standard}`,
    '-fPIC',
    // Without it at::parallel_for runs on the calling thread alone. Nothing is linked for it: a runtime of this compiler's own would have threads beside libtorch's.
    ...(openmp ? ['-fopenmp'] : []),
    '-Wall',
    '-Wextra',
    ...nodeFlags(modules),
    ...(gloo ? ['-DUSE_C10D_GLOO'] : []),
    ...(nccl.length > 0 ? ['-DUSE_C10D_NCCL'] : []),
    ...(libtorch.kind === 'debian' ? [] : [`-D_GLIBCXX_USE_CXX11_ABI=${oldStrings ? 0 : 1}`]),
    ...headers.filter((folder) => folder !== DEFAULT_INCLUDE).flatMap((folder) => ['-isystem', folder]),
  ];
}

/**
 * One source to one object.
 * @param {Toolchain} toolchain
 * @returns {string[]} the program and its arguments
 */
export function compileCommand(toolchain, source, object) {
  return [toolchain.compiler, ...compileFlags(toolchain), '-c', source, '-o', object];
}

/**
 * All objects to the addon. Libraries are linked although nothing may name them: they register their operators when they load.
 * @param {Toolchain} toolchain
 * @returns {string[]} the program and its arguments
 */
export function linkCommand({ compiler, libtorch, cuda }, objects, addon) {
  const place = libtorch.kind === 'debian' ? [] : [`-L${libtorch.lib}`, `-Wl,-rpath,${libtorch.lib}`];
  // Not libtorch.so: it is empty, and asks for CUDA's half wherever that was built.
  const libraries = ['-ltorch_cpu', '-lc10', ...(cuda ? ['-ltorch_cuda', '-lc10_cuda'] : [])];
  // All names are looked up when the addon is loaded: one that another libtorch lacks is then an error, and not the end of the process at its first call.
  return [compiler, '-shared', ...objects, '-o', addon, ...place, '-Wl,-z,now', '-Wl,--no-as-needed', ...libraries];
}
