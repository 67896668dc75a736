import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './errors.mjs';
import { findProgram, namesIn, readText } from './files.mjs';
import { tailOf } from './run.mjs';

const TIMEOUT_MS = 60 * 60_000;
const LOOK_TIMEOUT_MS = 60_000;
/** The oldest torch that is asked for; pip takes the newest that this python3 can have. */
const WANTED = 'torch>=2.1';

/** NVIDIA's libraries, by the beginning of a library's name, as pip's packages are called: nvidia-NAME, with -cu12 or the like where torch says so. */
const COMPONENTS = {
  libcudart: 'cuda-runtime', libcupti: 'cuda-cupti', libnvrtc: 'cuda-nvrtc', libcublas: 'cublas', libcublasLt: 'cublas', libcufft: 'cufft', libcufile: 'cufile', libcurand: 'curand',
  libcusolver: 'cusolver', libcusparse: 'cusparse', libcusparseLt: 'cusparselt', libcudnn: 'cudnn', libnccl: 'nccl', libnvshmem_host: 'nvshmem', libnvJitLink: 'nvjitlink', libnvToolsExt: 'nvtx',
};

/**
 * Brings pip's torch into a folder of the project's own, whole or not at all: it is made beside its place and moved there once its
 * libraries load. With a GPU all that torch asks for comes with it; without one only what its processor half needs, for the rest is
 * some gigabytes.
 * @param {{ folder: string, gpu: boolean, env: Record<string, string | undefined>, run: import('./run.mjs').Run, report: import('./report.mjs').Report }} options
 */
export async function bringTorch({ folder, gpu, env, run, report }) {
  const python = pythonOf(env);
  await report.stage(`pip's torch${gpu ? ' with CUDA, some gigabytes' : ''}`, async () => {
    await wholeFolder(folder, async (part) => {
      await pipInstall(run, python, part, [WANTED], gpu ? [] : ['--no-deps']);
      const libraries = gpu ? [] : librariesToBring(await neededBy(run, join(part, 'torch', 'lib', 'libtorch_cpu.so')), requirementsIn(part));
      if (libraries.length > 0) await pipInstall(run, python, part, libraries, ['--no-deps']);
      await loadOnce(run, python, join(part, 'torch', 'lib', 'libtorch_cpu.so'));
    });
  });
}

/** Makes a folder whole or not at all: `fill` works beside its place, and what was there goes when it is done. */
export async function wholeFolder(folder, fill) {
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  await fill(part);
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
}

/** The python3 that has pip. */
export function pythonOf(env) {
  const python = findProgram('python3', env);
  if (python === null) throw new SetupError('There is no python3 here, and so no pip.', 'Install python3 with pip, then run this again; or use --engine debian.');
  return python;
}

/** Has pip put packages into a folder. Throws a SetupError with what it said. */
export async function pipInstall(run, python, folder, packages, more = []) {
  const command = [python, '-m', 'pip', 'install', '--disable-pip-version-check', '--no-compile', '--only-binary=:all:', '--target', folder, ...more, ...packages];
  const { code, output } = await run(command, { timeoutMs: TIMEOUT_MS });
  if (code === 0) return;
  const said = tailOf(output).find((line) => /error/i.test(line)) ?? 'see .setup/log';
  throw new SetupError(`pip could not install ${packages.join(' ')}: ${said.trim()}`, 'Mend what it names and run this again, or use --engine debian. All that it printed is in .setup/log.', 1, tailOf(output));
}

/** The shared libraries that a library asks for by name. */
async function neededBy(run, library) {
  const { code, output } = await run(['readelf', '-d', library], { timeoutMs: LOOK_TIMEOUT_MS });
  if (code !== 0) throw new SetupError(`${library} can't be read: ${tailOf(output, 1)[0] ?? 'readelf failed'}.`, 'Run this again: pip may have been interrupted.', 1, tailOf(output));
  return [...output.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
}

/** What torch's package says it requires, a line each: "nvidia-cudnn-cu13==9.26.0.51; platform_system == ...". */
function requirementsIn(site) {
  const info = namesIn(site).find((name) => /^torch-.*\.dist-info$/.test(name));
  const metadata = (info && readText(join(site, info, 'METADATA'))) ?? '';
  return [...metadata.matchAll(/^Requires-Dist: (.+)$/gm)].map(([, line]) => line);
}

/**
 * Which of NVIDIA's packages hold the libraries that torch's processor half is linked with, in torch's own versions.
 * @param {string[]} needed "libcudart.so.13"
 * @param {string[]} requirements the lines of torch's package
 * @returns {string[]} "nvidia-cuda-runtime==13.2.*"
 */
export function librariesToBring(needed, requirements) {
  const components = new Set(needed.map((name) => COMPONENTS[name.split('.so')[0]]).filter((component) => component !== undefined));
  return [...components].map((component) => {
    const own = requirements.map((line) => /^(nvidia-[\w-]+)\s*\(?==([\w.]+)/.exec(line)).find((match) => match !== null && match[1].replace(/-cu\d+$/, '') === `nvidia-${component}`);
    if (own) return `${own[1]}==${own[2]}`;
    const toolkit = requirements.map((line) => /^cuda-toolkit.*==(\d+\.\d+)/.exec(line)).find((match) => match !== null);
    return toolkit ? `nvidia-${component}==${toolkit[1]}.*` : `nvidia-${component}`;
  });
}

async function loadOnce(run, python, library) {
  const { code, output } = await run([python, '-c', 'import ctypes, sys; ctypes.CDLL(sys.argv[1])', library], { timeoutMs: LOOK_TIMEOUT_MS });
  if (code === 0) return;
  throw new SetupError(`The torch that pip brought does not load: ${tailOf(output, 1)[0]}`, 'Use --engine debian, or set LIBTORCH to a libtorch that loads.', 1, tailOf(output));
}

/** Whether NVIDIA's driver is at work here. */
export const hasNvidiaGpu = (systemRoot = '/') => existsSync(join(systemRoot, 'proc', 'driver', 'nvidia', 'version'));
