import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from './run.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LIST = join(ROOT, 'packages/tfjs-libtorch/src/testing/published/answered-otherwise.ts');

/**
 * The backend's own tests, its suite and TF.js's published cases, by another Node or in another environment than this process's. Sets the
 * exit code, and says what fails.
 * @param {{ node?: string, env?: Record<string, string | undefined> }} options
 */
export async function testBackend({ node = process.execPath, env = process.env }) {
  const [suite] = await runProgram('conformance', ['libtorch'], { node, env });
  const failed = suite.rows.filter(({ failure }) => failure !== null).map(({ kernel, what, failure }) => `${kernel}, ${what}: ${failure}`);
  console.log(`${suite.rows.length} cases of the suite on libtorch ${suite.version}: ${failed.length} fail`);

  const [cases] = await runProgram('published', ['libtorch'], { node, env });
  // The list is TypeScript, which this Node does not read: a name stands in it as it is.
  const listed = await readFile(LIST, 'utf8');
  const unexpected = cases.filter(({ passed, name }) => !passed && !listed.includes(name)).map(({ name, message }) => `${name}: ${message}`);
  console.log(`${cases.length} of TF.js's cases: ${unexpected.length} fail that are not listed`);

  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const { status } = spawnSync(node, [vitest, 'run', '--config', join(ROOT, 'vitest.config.ts'), '--root', join(ROOT, 'packages/tfjs-libtorch')], { env, stdio: 'inherit' });
  for (const line of [...failed, ...unexpected]) console.log(line);
  process.exitCode = failed.length + unexpected.length > 0 || status !== 0 ? 1 : 0;
}
