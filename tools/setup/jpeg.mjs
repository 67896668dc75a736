import { existsSync, realpathSync } from 'node:fs';
import { buildAddon, planAddon } from './addon.mjs';
import { nodeFlags } from './compile.mjs';
import { SetupError } from './errors.mjs';
import { stampOf } from './files.mjs';

/** Where libjpeg's header is looked for; the compiler looks there by itself. */
const HEADERS = ['/usr/include/jpeglib.h', '/usr/local/include/jpeglib.h'];

/**
 * How the addon that decodes JPEG is compiled.
 * @param {{ compiler: string, header: string, layout: import('./checkout.mjs').Layout }} options
 */
export function planJpeg({ compiler, header, layout }) {
  const { modules, jpegSources, jpegAddon } = layout;
  return planAddon({
    sources: jpegSources,
    addon: jpegAddon,
    commands: {
      compile: (source, object) => [compiler, '-O3', '-std=c++17', '-fPIC', '-Wall', '-Wextra', ...nodeFlags(modules), '-c', source, '-o', object],
      link: (objects, addon) => [compiler, '-shared', ...objects, '-o', addon, '-Wl,-z,now', '-ljpeg'],
    },
    stamps: [realpathSync(compiler), stampOf(compiler), stampOf(header)],
  });
}

/**
 * Compiles the addon that decodes JPEG, where there are a compiler and libjpeg's header. Without it sharp decodes, the same pixels but slower: so
 * a failure is told and remembered, and is no error.
 * @param {{ compiler: string | null, layout: import('./checkout.mjs').Layout, run: import('./run.mjs').Run, report: import('./report.mjs').Report,
 *   warn: (lines: string[]) => void, force: boolean }} context
 * @param {import('./state.mjs').State} state
 * @returns {Promise<import('./state.mjs').State>}
 */
export async function bringJpeg({ compiler, layout, run, report, warn, force }, state) {
  const header = HEADERS.find((path) => existsSync(path));
  if (compiler === null || header === undefined || !existsSync(layout.jpegSources)) return state;
  const plan = planJpeg({ compiler, header, layout }), { jpeg } = state;
  if (!force && jpeg?.key === plan.key && (jpeg.stamp === null || jpeg.stamp === stampOf(layout.jpegAddon))) return state;
  try {
    await report.stage('JPEG decoder', () => buildAddon(plan, { run, jobs: 1, force }), () => 'compiled in');
    return { ...state, jpeg: { key: plan.key, stamp: stampOf(layout.jpegAddon) } };
  } catch (error) {
    if (!(error instanceof SetupError) || error.exitCode !== 1) throw error;
    warn([`The JPEG decoder is left out, and sharp decodes: ${error.message}. See .setup/log.`]);
    return { ...state, jpeg: { key: plan.key, stamp: null } };
  }
}
