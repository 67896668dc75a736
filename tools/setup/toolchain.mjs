import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { compileCommand, linkCommand } from './compile.mjs';
import { planAddon } from './addon.mjs';
import { namesIn, readText, stampOf } from './files.mjs';
import { atLeast, standardFor } from './version.mjs';

/**
 * How an addon for a libtorch is compiled, as its own files tell.
 * @param {import('./engine.mjs').Libtorch} libtorch
 * @param {string} compiler
 * @param {string} modules the folder node_modules
 * @returns {import('./compile.mjs').Toolchain}
 */
export function readToolchain(libtorch, compiler, modules) {
  const { include, version } = libtorch;
  return {
    compiler,
    standard: standardFor(version, readText(join(include, 'ATen', 'ATen.h')) ?? ''),
    libtorch,
    gloo: existsSync(join(include, 'gloo', 'context.h')),
    cuda: hasCuda(libtorch),
    nccl: hasCuda(libtorch) ? ncclHeaders(libtorch) : [],
    oldStrings: hasOldStrings(libtorch),
    openmp: isGnu(compiler),
    modules,
  };
}

/** libtorch's OpenMP runtime is GNU's; Clang's code would ask for another. */
function isGnu(compiler) {
  const { stdout } = spawnSync(compiler, ['--version'], { encoding: 'utf8', timeout: 60_000 });
  return /Free Software Foundation/.test(stdout ?? '');
}

/**
 * Whether CUDA's half of a libtorch is there with all libraries that it asks for. pip's torch on a machine without a GPU has it, but
 * not those; its processor half then does without.
 */
export function hasCuda({ lib }) {
  const library = join(lib, 'libtorch_cuda.so');
  if (!existsSync(library)) return false;
  const stamp = stampOf(library);
  if (!looked.has(stamp)) looked.set(stamp, !/not found/.test(linkedLibraries(library)));
  return looked.get(stamp);
}

/**
 * The folders of CUDA's and NCCL's headers: pip's packages have them beside torch (NCCL's come with it, nvidia-cuda-crt and nvidia-cuda-cccl don't),
 * a toolkit where it is installed. Empty where one is missing.
 */
export function ncclHeaders({ lib }, toolkit = '/usr/local/cuda/include') {
  const packages = join(lib, '..', '..', 'nvidia');
  const folders = [...namesIn(packages).map((name) => join(packages, name, 'include')), toolkit].filter((folder) => existsSync(folder));
  return ['nccl.h', 'cuda_runtime_api.h', 'crt/host_config.h', 'nv/target'].every((header) => folders.some((folder) => existsSync(join(folder, header)))) ? folders : [];
}

const looked = new Map();

function linkedLibraries(library) {
  const { stdout, stderr } = spawnSync('ldd', [library], { encoding: 'utf8', timeout: 60_000 });
  return `${stdout ?? ''}${stderr ?? ''}`;
}

/** libtorch's CMake file says with which strings it was compiled; without one, pip's had the old ones before 2.6. */
function hasOldStrings({ kind, lib, version }) {
  const cmake = readText(join(lib, '..', 'share', 'cmake', 'Torch', 'TorchConfig.cmake'));
  const flag = /-D_GLIBCXX_USE_CXX11_ABI=([01])/.exec(cmake ?? '')?.[1];
  return flag ? flag === '0' : kind === 'pip' && !atLeast(version, '2.6');
}

/**
 * The plan of the addon for a libtorch. Its key changes with our sources, the compiler, libtorch and the headers of npm's packages.
 * @param {import('./engine.mjs').Libtorch} libtorch
 * @param {{ compiler: string, layout: import('./checkout.mjs').Layout }} options
 */
export function planFor(libtorch, { compiler, layout }) {
  const toolchain = readToolchain(libtorch, compiler, layout.modules);
  return planAddon({
    sources: layout.addonSources,
    addon: layout.addon,
    commands: {
      compile: (source, object) => compileCommand(toolchain, source, object),
      link: (objects, addon) => linkCommand(toolchain, objects, addon),
    },
    stamps: [
      libtorch.version,
      stampOf(join(libtorch.lib, 'libtorch_cpu.so')),
      realpathSync(compiler),
      stampOf(compiler),
      ...['node-addon-api', 'node-api-headers'].map((name) => /"version": "(.*)"/.exec(readText(join(layout.modules, name, 'package.json')) ?? '')?.[1] ?? '-'),
    ],
  });
}
