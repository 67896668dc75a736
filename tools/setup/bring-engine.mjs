import { availableParallelism } from 'node:os';
import { aptByHand, aptCommands, unavailablePackages } from './apt.mjs';
import { buildAddon, removeAddon } from './addon.mjs';
import { libtorchName, wasmAdvice } from './engine.mjs';
import { SetupError } from './errors.mjs';
import { stampOf } from './files.mjs';
import { aptRights, dpkgInterrupted, lookAround } from './machine.mjs';
import { bringTorch } from './pip.mjs';
import { missingReference, nextStep } from './plan.mjs';
import { tailOf } from './run.mjs';
import { hasCuda, planFor } from './toolchain.mjs';

const APT_TIMEOUT_MS = 30 * 60_000;
/** A machine without a network would otherwise ask for the same packages at each start. */
const APT_PAUSE_MS = 24 * 3_600_000;

/**
 * @typedef {{
 *   options: import('./options.mjs').Options, layout: import('./checkout.mjs').Layout, env: Record<string, string | undefined>,
 *   run: import('./run.mjs').Run, report: import('./report.mjs').Report, warn: (lines: string[]) => void,
 *   save: (state: import('./state.mjs').State) => void
 * }} Context `warn`: lines for standard error; `save`: keeps the state, so that an interruption loses nothing that is done
 * @typedef {{ state: import('./state.mjs').State, libtorch: import('./engine.mjs').Libtorch | null, reasons: string[], reference: boolean }} Engine
 *   `libtorch`: the one that the addon stands for, or null for wasm; `reference`: what tests compare with is there
 */

/**
 * Brings the best engine that this machine lets us have: installs packages, compiles the addon, and where that fails goes on to the next.
 * @param {Context} context
 * @param {import('./state.mjs').State} state
 * @returns {Promise<Engine>} Throws a SetupError where Debian's libtorch was asked for by name and isn't to be had.
 */
export async function bringEngine(context, state) {
  const { options, env, report } = context;
  for (;;) {
    const machine = lookAround(env, context.layout);
    const { step, rights } = decideStep(machine, state, context);
    if (step.do === 'install') {
      state = await installPackages(step.packages, { ...context, root: rights === 'root' }, state);
      context.save(state);
      continue;
    }
    if (step.do === 'pip') {
      await bringTorch({ folder: context.layout.pip, gpu: machine.gpu, env, run: context.run, report });
      continue;
    }
    const reference = missingReference(machine).length === 0;
    if (options.withReference && !reference) report.note(`what tests compare with … can't be installed here (${missingReference(machine).join(', ')}): those that need it will say that they were left out`);
    if (step.do === 'wasm') return { state: bringWasm(step, machine, context, state), libtorch: null, reasons: step.reasons, reference };
    state = await bringAddon(step.libtorch, machine.compiler, context, state);
    context.save(state);
    if (state.addon && machine.gpu && !hasCuda(step.libtorch)) report.say(`This machine has an NVIDIA GPU, but ${step.libtorch.from} computes on the processor: \`node tools/setup.mjs --engine pip\` brings torch with CUDA.`);
    if (state.addon) return { state, libtorch: step.libtorch, reasons: step.reasons, reference };
  }
}

/**
 * The next step; the one to take if nothing could be installed; and apt's rights, which are looked up only where there is something to
 * install.
 * @returns {{ step: import('./plan.mjs').Step, asItIs: import('./plan.mjs').Step, rights: 'root' | 'sudo' | 'none' }}
 */
export function decideStep(machine, state, { options, layout, env }) {
  const facts = { machine, failed: currentFailures(machine, state, layout), unavailable: state.unavailable, engine: options.engine, reference: options.withReference };
  const asItIs = nextStep({ ...facts, canInstall: false });
  const step = nextStep({ ...facts, canInstall: true });
  if (step.do !== 'install') return { step, asItIs, rights: 'none' };
  const rights = isPaused(step.packages, state.aptFailure, Date.now()) ? 'none' : aptRights(machine, env);
  return { step: rights === 'none' ? asItIs : step, asItIs, rights };
}

/** Whether apt failed on these packages, or on more, less than a day ago. */
export function isPaused(packages, failure, now) {
  return failure !== null && now - failure.at < APT_PAUSE_MS && packages.every((name) => failure.packages.includes(name));
}

/** The failures that still stand: of a libtorch that is there, with the same compiler and the same sources. */
function currentFailures(machine, { failed }, layout) {
  const found = machine.compiler ? machine.probes.filter((probe) => 'libtorch' in probe) : [];
  const standing = found.filter(({ libtorch }) => {
    const failure = failed[libtorchName(libtorch)];
    return failure && failure.key === planFor(libtorch, { compiler: machine.compiler, layout }).key;
  });
  return Object.fromEntries(standing.map(({ libtorch }) => [libtorchName(libtorch), failed[libtorchName(libtorch)].reason]));
}

/**
 * Installs packages through apt. Those that apt doesn't know on this system are left out and remembered, and the others tried again.
 * A failure is remembered too, for a day, and is no error: there may be another way.
 * @param {string[]} packages
 * @param {Pick<Context, 'run' | 'report' | 'warn'> & { root: boolean }} context
 * @param {import('./state.mjs').State} state
 * @returns {Promise<import('./state.mjs').State>}
 */
export async function installPackages(packages, { run, report, warn, root }, state) {
  const install = () => installKnown(packages, (names) => runApt(names, { run, root }));
  const result = await report.stage(`packages (${packages.join(', ')})`, install, describeInstallation);
  const { unknown, failed, output } = result;
  if (failed.length > 0) warn([...tailOf(output), `apt could not install ${failed.join(', ')}: see .setup/log. By hand: ${aptByHand(failed)}. They are tried again after a day, or with --force.`]);
  return { ...state, unavailable: [...new Set([...state.unavailable, ...unknown])], aptFailure: failed.length > 0 ? { packages: failed, at: Date.now() } : null };
}

/**
 * What apt doesn't know of `packages`, and what it failed on. Where its lists may be old or empty, nothing is unknown for good.
 * @returns {Promise<{ unknown: string[], failed: string[], output: string }>}
 */
async function installKnown(packages, apt) {
  const first = await apt(packages);
  const strange = first.code === 0 ? [] : unavailablePackages(first.output).filter((name) => packages.includes(name));
  const known = packages.filter((name) => !strange.includes(name));
  const last = strange.length > 0 && known.length > 0 ? await apt(known) : first;
  const failed = [...(last.code === 0 ? [] : known), ...(first.fresh ? [] : strange)];
  return { unknown: first.fresh ? strange : [], failed, output: last.output };
}

/** Runs apt's commands for some packages. `fresh`: its lists of what there is were fetched; they may do even if they weren't. */
async function runApt(packages, { run, root }) {
  let fresh = true;
  let last = { code: 0, output: '' };
  for (const command of aptCommands(packages, { root, interrupted: dpkgInterrupted() })) {
    last = await run(command, { timeoutMs: APT_TIMEOUT_MS });
    // apt-get update ends with 0 when a server wasn't reached.
    if (command.includes('update')) fresh = last.code === 0 && !/Failed to fetch|index files failed to download/.test(last.output);
    else if (last.code !== 0) break;
  }
  return { ...last, fresh };
}

function describeInstallation({ unknown, failed }) {
  if (failed.length > 0) return 'not all installed,';
  return unknown.length > 0 ? `installed but for ${unknown.join(', ')}, which apt doesn't know, in` : 'installed in';
}

/** Compiles the addon for a libtorch, if need be. The state comes back with it, or without one and with the failure. */
async function bringAddon(libtorch, compiler, { options, layout, run, report, warn }, state) {
  const name = libtorchName(libtorch);
  const plan = planFor(libtorch, { compiler, layout });
  report.note(`libtorch ${libtorch.version} (${libtorch.from}) … found`);
  if (!options.force && addonIsCurrent(plan, state)) return state;
  const { [name]: _old, ...failed } = state.failed;
  try {
    await report.stage('addon', () => buildAddon(plan, { run, jobs: availableParallelism(), force: options.force }), ({ compiled }) => (compiled > 0 ? 'compiled in' : 'linked in'));
    return { ...state, failed, addon: { key: plan.key, stamp: stampOf(layout.addon), libtorch: name } };
  } catch (error) {
    if (!(error instanceof SetupError) || error.exitCode !== 1) throw error;
    warn([...error.tail, `libtorch ${libtorch.version} (${libtorch.from}) is left out: ${error.message}. See .setup/log.`]);
    return { ...state, addon: null, failed: { ...failed, [name]: { reason: `${libtorch.from}: ${error.message}`, key: plan.key } } };
  }
}

/** Whether the addon in its place is the one that was built for this plan. */
export function addonIsCurrent({ key, addon }, state) {
  return state.addon?.key === key && state.addon.stamp === stampOf(addon);
}

function bringWasm({ missing, reasons }, { debianLike, platform, compiler, probes }, { options, layout, report }, state) {
  if (options.engine === 'debian') {
    throw new SetupError(`Debian's libtorch-dev can't be used here: ${reasons.join('; ')}.`, missing.length > 0 ? `${aptByHand(missing)}; then run this again.` : 'See .setup/log, or run this with --engine auto.');
  }
  if (options.engine === 'pip') {
    throw new SetupError(`pip's torch can't be used here: ${reasons.join('; ')}.`, missing.length > 0 ? `${aptByHand(missing)}; then run this again.` : 'See .setup/log, or run this with --engine auto.');
  }
  const failed = compiler !== null && probes.some((probe) => 'libtorch' in probe && libtorchName(probe.libtorch) in state.failed);
  if (removeAddon(layout.addon)) report.say('addon … removed');
  if (['auto', 'tensorflow'].includes(options.engine) && platform === 'linux') {
    for (const line of reasons) report.note(`no libtorch … ${line}`);
    for (const line of wasmAdvice({ debianLike, missing, failed })) report.note(line);
  }
  return { ...state, addon: null };
}
