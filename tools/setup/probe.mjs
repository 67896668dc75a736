import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { namesIn, readText } from './files.mjs';
import { versionFromHeader } from './version.mjs';

/** Prints the folder of the torch that `import torch` would load, without loading it. */
const FIND_TORCH = `import importlib.util as u
s = u.find_spec("torch")
print(s.submodule_search_locations[0] if s and s.origin and s.submodule_search_locations else "")`;

/**
 * Looks for libtorch in the places where it can be, in order of preference.
 * @param {{ env: Record<string, string | undefined>, ownTorch?: string, pipTorch: string | null, systemRoot?: string }} options `ownTorch`: the
 *   folder of the torch that set-up brings from pip, looked at where it is; `pipTorch`: of the torch that python3 would import;
 *   `systemRoot`: the folder that holds `usr`
 * @returns {import('./engine.mjs').Probe[]}
 */
export function probeLibtorch({ env, ownTorch, pipTorch, systemRoot = '/' }) {
  return [probeVariable(env.LIBTORCH), ...(ownTorch && existsSync(ownTorch) ? [probeOwn(ownTorch)] : []), probePip(pipTorch, systemRoot), probeDebian(systemRoot)];
}

function probeOwn(folder) {
  return { ...probeFolder('pip', `pip's torch (${folder})`, join(folder, 'include'), join(folder, 'lib')), own: true };
}

function probeVariable(folder) {
  if (!folder) return { kind: 'LIBTORCH', absent: 'LIBTORCH is not set' };
  const home = [folder, join(folder, 'torch')].find((place) => hasHeaders(join(place, 'include'))) ?? folder;
  return probeFolder('LIBTORCH', `LIBTORCH (${home})`, join(home, 'include'), join(home, 'lib'));
}

/** Debian's python3-torch is found by python3 too. It has no headers of its own: links to those of libtorch-dev, which may not be there. */
function probePip(folder, systemRoot) {
  if (folder === null) return { kind: 'pip', absent: 'python3 has no torch' };
  const include = join(folder, 'include');
  const own = hasHeaders(include) && realOf(atenHeader(include)) !== realOf(atenHeader(join(systemRoot, 'usr', 'include')));
  if (!own) return { kind: 'pip', absent: `python3's torch (${folder}) has no headers of its own: it is not pip's` };
  return probeFolder('pip', `pip's torch (${folder})`, include, join(folder, 'lib'));
}

const realOf = (path) => (existsSync(path) ? realpathSync(path) : path);

function probeDebian(systemRoot) {
  const include = join(systemRoot, 'usr', 'include');
  if (!hasHeaders(include)) return { kind: 'debian', absent: "Debian's libtorch-dev is not installed" };
  const triples = namesIn(join(systemRoot, 'usr', 'lib')).filter((name) => name.includes('-linux-gnu'));
  const libs = triples.map((triple) => join(systemRoot, 'usr', 'lib', triple));
  return probeFolder('debian', "Debian's libtorch-dev", include, libs.find(hasLibrary) ?? join(systemRoot, 'usr', 'lib'));
}

function probeFolder(kind, from, include, lib) {
  if (!hasHeaders(include)) return { kind, absent: `${from} has no include/ATen` };
  if (!hasLibrary(lib)) return { kind, absent: `${from} has no libtorch_cpu.so in ${lib}` };
  const version = versionIn(include);
  return version ? { kind, libtorch: { kind, version, include, lib, from } } : { kind, absent: `${from} does not say its version in torch/version.h` };
}

const atenHeader = (include) => join(include, 'ATen', 'ATen.h');
const hasHeaders = (include) => existsSync(atenHeader(include));
const hasLibrary = (lib) => existsSync(join(lib, 'libtorch_cpu.so'));

/** Since 2.10 torch/version.h only includes the other one. */
function versionIn(include) {
  const headers = [join('torch', 'headeronly', 'version.h'), join('torch', 'csrc', 'api', 'include', 'torch', 'version.h'), join('torch', 'version.h')];
  for (const header of headers) {
    const version = versionFromHeader(readText(join(include, header)) ?? '');
    if (version) return version;
  }
  return null;
}

/** The folder of the torch that python3 would import, or null: no python3, no torch, or no answer within 10 s. */
export function findPipTorch(env) {
  try {
    const printed = execFileSync('python3', ['-c', FIND_TORCH], { cwd: '/', env, encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] });
    return printed.trim() || null;
  } catch {
    return null;
  }
}
