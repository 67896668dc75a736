import { aptByHand, ESSENTIAL } from './apt.mjs';
import { atLeast, OLDEST } from './version.mjs';

/**
 * @typedef {{ kind: 'LIBTORCH' | 'pip' | 'debian', version: string, include: string, lib: string, from: string }} Libtorch
 * @typedef {({ kind: Libtorch['kind'], libtorch: Libtorch } | { kind: Libtorch['kind'], absent: string }) & { own?: true }} Probe what a look at one place
 *   found; `own`: the place is set-up's own, for pip's torch
 * @typedef {{ engine: 'libtorch', libtorch: Libtorch, reasons: string[] }
 *   | { engine: 'debian' | 'pip', reasons: string[] }
 *   | { engine: 'wasm', reasons: string[] }} Choice
 *   'debian': to be had, once apt has installed `libtorch-dev`; 'pip': once pip has brought torch into set-up's folder
 */

/**
 * Which engine to set up, and why not a better one.
 * @param {{ platform: string, probes: Probe[], canInstall: boolean, failed: Record<string, string> }} facts
 *   `probes` in order of preference; `canInstall`: apt can bring Debian's libtorch and a compiler if need be;
 *   `failed`: by the version and place of a libtorch, why an addon for it wasn't to be had last time
 * @param {'auto' | 'debian' | 'pip' | 'wasm'} wanted
 * @returns {Choice}
 */
export function chooseEngine({ platform, probes, canInstall, failed }, wanted) {
  if (wanted === 'wasm') return { engine: 'wasm', reasons: ['wasm was asked for'] };
  if (platform !== 'linux') return { engine: 'wasm', reasons: [`the addon is made for Linux; this is ${platform}`] };
  const reasons = [];
  for (const probe of probes) {
    if ((wanted === 'debian' && probe.kind !== 'debian') || (wanted === 'pip' && !probe.own)) continue;
    const reason = whyNot(probe, failed);
    if (!reason) return { engine: 'libtorch', libtorch: probe.libtorch, reasons };
    reasons.push(reason);
  }
  // One that is there but not whole is brought again.
  if (wanted === 'pip') return { engine: probes.some((probe) => probe.own && 'libtorch' in probe) ? 'wasm' : 'pip', reasons };
  const installed = probes.some((probe) => probe.kind === 'debian' && 'libtorch' in probe);
  return { engine: canInstall && !installed ? 'debian' : 'wasm', reasons };
}

function whyNot(probe, failed) {
  if ('absent' in probe) return probe.absent;
  const { libtorch } = probe;
  if (!atLeast(libtorch.version, OLDEST)) return `${libtorch.from} is libtorch ${libtorch.version}; the addon needs ${OLDEST} or newer`;
  return failed[libtorchName(libtorch)];
}

/** A libtorch's version and place, under which its failures are remembered. */
export function libtorchName({ version, from }) {
  return `${version} ${from}`;
}

/**
 * The two lines for someone whose machine has no libtorch and lets us install none.
 * @param {{ debianLike: boolean, missing: string[], failed: boolean }} facts `failed`: there is one, but no addon was to be had for it
 * @returns {[string, string]}
 */
export function wasmAdvice({ debianLike, missing, failed }) {
  return ['No libtorch can be used here: going on with the wasm backend, which is many times slower.', `For libtorch: ${adviceFor({ debianLike, missing, failed })}.`];
}

function adviceFor({ debianLike, missing, failed }) {
  if (failed) return 'mend what .setup/log names, then run this again with --force';
  if (debianLike) return `${aptByHand(missing.length > 0 ? missing : ESSENTIAL)}; then run this again`;
  return 'install g++ and `pip install torch`, or set LIBTORCH to an unpacked libtorch; then run this again';
}
