import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { installedPackages } from './apt.mjs';
import { findProgram, namesIn, readText } from './files.mjs';
import { isDebianLike, parseOsRelease } from './os-release.mjs';
import { hasNvidiaGpu } from './pip.mjs';
import { findPipTorch, probeLibtorch } from './probe.mjs';

const COMPILERS = ['g++', 'clang++', 'c++'];

/**
 * What this machine has, as far as the engine is concerned. Looking changes nothing.
 * @typedef {{
 *   platform: string, debianLike: boolean, installed: Set<string>, compiler: string | null, probes: import('./engine.mjs').Probe[], gpu: boolean
 * }} Machine
 *   `installed`: Debian packages; `compiler`: the path of a C++ compiler, `$CXX` first
 * @param {Record<string, string | undefined>} env
 * @param {import('./checkout.mjs').Layout} layout
 * @returns {Machine}
 */
export function lookAround(env, layout) {
  const release = readText('/etc/os-release') ?? readText('/usr/lib/os-release') ?? '';
  return {
    platform: process.platform,
    debianLike: isDebianLike(parseOsRelease(release)) && findProgram('apt-get', env) !== null,
    installed: installedPackages(readText('/var/lib/dpkg/status') ?? ''),
    compiler: findCompiler(env),
    probes: probeLibtorch({ env, ownTorch: join(layout.pip, 'torch'), pipTorch: findPipTorch(env) }),
    gpu: hasNvidiaGpu(),
  };
}

/** The path of a C++ compiler: the one that `$CXX` names, or the first that PATH has. */
export function findCompiler(env) {
  for (const name of env.CXX ? [env.CXX, ...COMPILERS] : COMPILERS) {
    const path = findProgram(name, env);
    if (path) return path;
  }
  return null;
}

/** How apt can be run without asking anyone: 'root', through 'sudo' without a password, or not ('none'). */
export function aptRights(machine, env) {
  if (!machine.debianLike) return 'none';
  if (process.getuid?.() === 0) return 'root';
  try {
    execFileSync('sudo', ['-n', 'true'], { env, stdio: 'ignore', timeout: 10_000 });
    return 'sudo';
  } catch {
    return 'none';
  }
}

/** Whether dpkg was stopped in the middle and asks for `dpkg --configure -a` first: it has left its journal, as apt looks for it. */
export function dpkgInterrupted() {
  return namesIn('/var/lib/dpkg/updates').some((name) => /^\d+$/.test(name));
}
