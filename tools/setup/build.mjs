import { statSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './errors.mjs';
import { digestOf, namesIn, readText, stampOf } from './files.mjs';
import { tailOf } from './run.mjs';

const TIMEOUT_MS = 10 * 60_000;
/** A package that has it has a page, which vite builds into dist/page. */
const PAGE_CONFIG = 'vite.config.ts';

/**
 * Digest of what the build depends on: names, sizes and times of change of the sources, the configurations, TypeScript's version.
 * @param {import('./checkout.mjs').Layout} layout
 */
export function buildDigest({ root, packages, modules }) {
  const top = ['tsconfig.json', 'tsconfig.base.json'].map((name) => join(root, name));
  const files = namesIn(packages).flatMap((name) => {
    const folder = join(packages, name);
    const settings = namesIn(folder).filter((file) => file === 'package.json' || file === PAGE_CONFIG || /^tsconfig.*\.json$/.test(file));
    return [...settings.map((file) => join(folder, file)), ...filesUnder(join(folder, 'src'))];
  });
  return digestOf([typescriptVersion(modules), ...[...top, ...files].map((path) => `${path} ${stampOf(path)}`)]);
}

function filesUnder(folder) {
  return namesIn(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? filesUnder(path) : [path];
  });
}

const typescriptVersion = (modules) => /"version": "(.*)"/.exec(readText(join(modules, 'typescript', 'package.json')) ?? '')?.[1];

/** Whether what `tsc -b` makes of each package of tsconfig.json's references is there, and what vite makes of the pages. */
function isBuilt({ root, packages }) {
  const references = JSON.parse(readText(join(root, 'tsconfig.json')) ?? '{}').references ?? [];
  const made = [...references.map(({ path }) => join(root, path, '..', 'dist', 'lib.tsbuildinfo')), ...foldersWithPage(packages).map((folder) => join(folder, 'dist', 'page', 'index.html'))];
  return made.every((path) => stampOf(path) !== '-');
}

const foldersWithPage = (packages) => namesIn(packages).map((name) => join(packages, name)).filter((folder) => stampOf(join(folder, PAGE_CONFIG)) !== '-');

/** Whether the last successful build was of these sources, and is still there. */
export function buildIsCurrent(layout, state) {
  return state.build === buildDigest(layout) && isBuilt(layout);
}

/**
 * Compiles the packages' TypeScript and builds their pages, if need be. Returns the state with the digest of what was built. Throws a SetupError with the
 * compiler's last lines.
 * @param {{ layout: import('./checkout.mjs').Layout, run: import('./run.mjs').Run, report: import('./report.mjs').Report, force: boolean }} context
 * @param {import('./state.mjs').State} state
 * @returns {Promise<import('./state.mjs').State>}
 */
export async function bringBuild({ layout, run, report, force }, state) {
  if (!force && buildIsCurrent(layout, state)) return state;
  // Taken before: a file that is saved while the compiler runs will be built the next time.
  const build = buildDigest(layout);
  await report.stage('build', async () => {
    const tsc = join(layout.modules, 'typescript', 'bin', 'tsc');
    const { code, output } = await run([process.execPath, tsc, '-b', '--pretty', 'false', ...(force ? ['--force'] : [])], { timeoutMs: TIMEOUT_MS });
    const errors = output.match(/error TS\d+/g)?.length ?? 0;
    if (code !== 0) throw buildError(`The build failed${errors > 0 ? `, with ${errors} error${errors === 1 ? '' : 's'} of TypeScript's` : ''}.`, output);
    for (const folder of foldersWithPage(layout.packages)) await buildPage(folder, { layout, run });
  });
  return { ...state, build };
}

async function buildPage(folder, { layout, run }) {
  const vite = join(layout.modules, 'vite', 'bin', 'vite.js');
  const { code, output } = await run([process.execPath, vite, 'build', '--config', join(folder, PAGE_CONFIG), '--logLevel', 'warn'], { timeoutMs: TIMEOUT_MS, env: { NODE_ENV: 'production' } });
  if (code !== 0) throw buildError(`The page of ${folder} can't be built.`, output);
}

const buildError = (message, output) => new SetupError(message, 'All of its output is in .setup/log. Mend what it names, and run this again.', 1, tailOf(output));
