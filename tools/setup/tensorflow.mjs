import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './errors.mjs';
import { namesIn, stampOf } from './files.mjs';
import { pipInstall, pythonOf, wholeFolder } from './pip.mjs';
import { tailOf } from './run.mjs';

const COMPILE_TIMEOUT_MS = 15 * 60_000;
const LOAD_TIMEOUT_MS = 2 * 60_000;
const SOURCES = ['tfjs_backend', 'tfjs_binding'];

/**
 * Makes TensorFlow's own engine usable from TF.js: pip's TensorFlow in a folder of the project's own, and the binding of
 * @tensorflow/tfjs-node-gpu compiled from its own sources against that TensorFlow's C interface, for what that package would fetch is
 * years older. Does nothing where the binding is there and loads.
 * @param {{ layout: import('./checkout.mjs').Layout, env: Record<string, string | undefined>, compiler: string | null, gpu: boolean, run: import('./run.mjs').Run,
 *   report: import('./report.mjs').Report, force: boolean }} options
 */
export async function bringTensorflow({ layout, env, compiler, gpu, run, report, force }) {
  const home = join(layout.modules, '@tensorflow', 'tfjs-node-gpu');
  if (namesIn(join(home, 'binding')).length === 0) throw new SetupError('@tensorflow/tfjs-node-gpu is not among npm\'s packages here.', 'Run `npm install`, then this again.');
  const binding = bindingPlace(home), site = layout.tensorflow;
  if (!force && (await loads(run, binding))) return;
  if (compiler === null) throw new SetupError('There is no C++ compiler here.', 'Install g++, then run this again.');
  if (force || stampOf(libraryIn(site)) === '-') {
    const python = pythonOf(env), packages = gpu ? ['tensorflow[and-cuda]'] : ['tensorflow-cpu'];
    await report.stage("pip's TensorFlow", () => wholeFolder(site, (part) => pipInstall(run, python, part, packages, gpu ? [] : ['--no-deps'])));
  }
  await report.stage("TensorFlow's binding", () => compileBinding({ home, binding, site, compiler, modules: layout.modules, run }), () => 'compiled in');
}

const libraryIn = (site) => join(site, 'tensorflow', 'libtensorflow_cc.so.2');

/** Where the package looks for it: by the newest Node-API that both know. */
export function bindingPlace(home, napi = Number(process.versions.napi)) {
  const { binary } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  return join(home, 'lib', `napi-v${Math.max(...binary.napi_versions.filter((version) => version <= napi))}`, 'tfjs_binding.node');
}

async function compileBinding({ home, binding, site, compiler, modules, run }) {
  const tensorflow = join(site, 'tensorflow'), objects = SOURCES.map((name) => join(site, `${name}.o`)), beside = binding.replace(/\.node$/, `.${process.pid}.node`);
  const includes = [`-I${home}`, '-isystem', join(tensorflow, 'include'), '-isystem', join(modules, 'node-api-headers', 'include')];
  mkdirSync(join(binding, '..'), { recursive: true });
  for (const [i, name] of SOURCES.entries()) await succeed(run, [compiler, '-O2', '-std=c++17', '-fPIC', ...includes, '-c', join(home, 'binding', `${name}.cc`), '-o', objects[i]], `${name}.cc does not compile`);
  try {
    await succeed(run, [compiler, '-shared', ...objects, '-o', beside, `-L${tensorflow}`, `-Wl,-rpath,${tensorflow}`, '-Wl,-z,now', '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'], 'the binding does not link');
    if (!(await loads(run, beside))) throw new SetupError("TensorFlow's binding does not load.", 'See .setup/log.');
    renameSync(beside, binding);
  } finally {
    rmSync(beside, { force: true });
  }
}

async function succeed(run, command, failure) {
  const { code, output } = await run(command, { timeoutMs: COMPILE_TIMEOUT_MS });
  if (code !== 0) throw new SetupError(`${failure}: ${(output.split('\n').find((line) => /\berror\b/i.test(line)) ?? tailOf(output, 1)[0] ?? '').trim()}`, 'See .setup/log.', 1, tailOf(output));
}

/** Whether Node can load a binding; false where there is none. */
async function loads(run, binding) {
  return stampOf(binding) !== '-' && (await run([process.execPath, '-e', 'require(process.argv[1])', binding], { timeoutMs: LOAD_TIMEOUT_MS })).code === 0;
}
