import { execFileSync } from 'node:child_process';
import { ESSENTIAL } from './apt.mjs';
import { addonIsCurrent, decideStep } from './bring-engine.mjs';
import { buildIsCurrent } from './build.mjs';
import { stampOf } from './files.mjs';
import { lookAround } from './machine.mjs';
import { packagesAreCurrent } from './npm-packages.mjs';
import { missingReference } from './plan.mjs';
import { readState } from './state.mjs';
import { planFor } from './toolchain.mjs';

/**
 * What `--check` prints: what is there, and what a run with the same options would install. Looking changes nothing.
 * @param {{ options: import('./options.mjs').Options, layout: import('./checkout.mjs').Layout, env: Record<string, string | undefined> }} context
 * @returns `engine`: "libtorch", "wasm", or "debian" or "pip", which are libtorch once `install` is installed, or torch has been brought; `addon`: "current",
 *   "stale" (there, but not of these sources, compiler and libtorch, or not made by set-up) or "absent"; `npmPackages` and `build`: up to date
 */
export function checkSetup({ options, layout, env }) {
  const state = readState(layout.state);
  const machine = lookAround(env, layout);
  const { step, asItIs } = decideStep(machine, state, { options, layout, env });
  const libtorch = asItIs.do === 'addon' ? asItIs.libtorch : null;
  const install = step.do === 'install' ? step.packages : [];
  return {
    engine: libtorch ? 'libtorch' : asItIs.do === 'pip' ? 'pip' : install.some((name) => ESSENTIAL.includes(name)) ? 'debian' : 'wasm',
    libtorch: libtorch && { version: libtorch.version, kind: libtorch.kind, from: libtorch.from, include: libtorch.include, lib: libtorch.lib },
    addon: addonState(libtorch, machine.compiler, layout, state),
    npmPackages: packagesAreCurrent(layout),
    build: buildIsCurrent(layout, state),
    reference: missingReference(machine).length === 0,
    install,
    compiler: machine.compiler,
    node: process.versions.node,
    npm: npmVersion(env),
    reasons: asItIs.reasons ?? [],
  };
}

function addonState(libtorch, compiler, layout, state) {
  if (stampOf(layout.addon) === '-') return 'absent';
  return libtorch && addonIsCurrent(planFor(libtorch, { compiler, layout }), state) ? 'current' : 'stale';
}

function npmVersion(env) {
  try {
    return execFileSync('npm', ['--version'], { env, encoding: 'utf8', timeout: 20_000, stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}
