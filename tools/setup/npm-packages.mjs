import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './errors.mjs';
import { readText } from './files.mjs';
import { modulesMatch } from './node-modules.mjs';
import { tailOf } from './run.mjs';

const TIMEOUT_MS = 30 * 60_000;

/** Whether node_modules holds what package-lock.json asks for. Throws a SetupError where there is no package-lock.json. */
export function packagesAreCurrent({ root, lockfile, modules }) {
  const lock = readText(lockfile);
  if (lock === null) throw new SetupError(`There is no package-lock.json in ${root}.`, 'Restore it (`git checkout package-lock.json`), and run this again.');
  return modulesMatch(lock, readText(join(modules, '.package-lock.json')), (path) => existsSync(join(root, path)));
}

/**
 * Installs npm's packages, if need be. The compiler is one of the development packages, so they come whatever `omit` says. An optional
 * package that fails is npm's to leave out. onnxruntime-node would fetch CUDA's libraries from outside the registry: it needn't.
 * @param {{ layout: import('./checkout.mjs').Layout, run: import('./run.mjs').Run, report: import('./report.mjs').Report, force: boolean }} context
 */
export async function bringPackages({ layout, run, report, force }) {
  if (!force && packagesAreCurrent(layout)) return;
  await report.stage('npm packages', async () => {
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const { code, output } = await run([npm, 'ci', '--include=dev', '--no-audit', '--no-fund'], { env: { ONNXRUNTIME_NODE_INSTALL: 'skip' }, timeoutMs: TIMEOUT_MS });
    if (code === 0) return;
    const what = code === null ? '`npm ci` could not be run to its end.' : `\`npm ci\` ended with exit code ${code}.`;
    throw new SetupError(what, remedyFor(output), 1, tailOf(output));
  });
}

/** What to do about a failed `npm ci`, out of what it printed. */
export function remedyFor(output) {
  if (/can't be started: .*ENOENT/.test(output)) return 'npm comes with Node: see that it is on PATH, and run this again.';
  if (/code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT)/.test(output)) {
    return "npm's registry was not reached: look at the network, and at `npm config get registry` and `npm config get proxy`; then run this again.";
  }
  if (/code EUSAGE/.test(output)) return 'package.json and package-lock.json disagree: run `npm install`, and then this again.';
  return 'All that it printed is in .setup/log. Mend the cause, and run this again.';
}
