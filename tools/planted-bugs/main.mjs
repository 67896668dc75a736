#!/usr/bin/env node
// Tests the tests: each bug of bugs.mjs is written into a copy of packages/trainer, where its test has to fail; without bugs all of them pass.
// `node tools/planted-bugs/main.mjs [words of a bug's name]`
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bugs } from './bugs.mjs';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const TEST_MS = 180_000;

/** The trainer by itself; what it imports is the repository's. */
function copyTrainer(folder) {
  const trainer = join(folder, 'packages', 'trainer');
  for (const name of ['package.json', 'tsconfig.base.json', 'vitest.config.ts']) cpSync(join(repository, name), join(folder, name));
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
  cpSync(join(repository, 'packages', 'trainer'), trainer, { recursive: true, verbatimSymlinks: true, filter: (path) => !/packages\/trainer\/(dist|node_modules)(\/|$)/.test(path) });
  // Its own packages, where npm put some beside it; and the build, for tests that start processes.
  for (const name of ['node_modules', 'dist']) symlinkSync(join(repository, 'packages', 'trainer', name), join(trainer, name));
  return trainer;
}

/** Vitest's verdict on one file, or on the tests in it whose names hold the words. */
function runTest(trainer, file, named = null) {
  const report = join(trainer, 'report.json');
  rmSync(report, { force: true });
  const words = named === null ? [] : ['-t', named.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')];
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(repository, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--config', '../../vitest.config.ts', '--root', '.', file, '--retry=0', '--maxWorkers=1', '--reporter=json', `--outputFile=${report}`, ...words], { cwd: trainer, encoding: 'utf8', timeout: TEST_MS });
  try {
    const { numPassedTests: passed, numFailedTests: failed } = JSON.parse(readFileSync(report, 'utf8'));
    return { status, passed, failed, said: stdout + stderr };
  } catch {
    return { status, passed: 0, failed: 0, said: stdout + stderr };
  }
}

/** Null where the test noticed the bug, else what is wrong. */
function tryBug(trainer, { file, find, put, test, named }) {
  const path = join(trainer, file), whole = readFileSync(path, 'utf8');
  if (whole.split(find).length !== 2) return `does not apply: ${file} holds ${JSON.stringify(find)} ${whole.split(find).length - 1} times instead of once`;
  writeFileSync(path, whole.replace(find, () => put));
  try {
    const { passed, failed, said } = runTest(trainer, test, named);
    if (failed > 0) return null;
    return passed > 0 ? `was not noticed by "${named}" in ${test}` : `"${named}" in ${test} did not run:\n${said.slice(-800)}`;
  } finally {
    writeFileSync(path, whole);
  }
}

function main(words) {
  const chosen = bugs.filter(({ name }) => name.includes(words));
  if (chosen.length === 0) throw new Error(`No planted bug has "${words}" in its name.`);
  const folder = mkdtempSync(join(tmpdir(), 'chameleon-planted-'));
  let wrong = 0;
  const tell = (name, problem) => {
    console.log(problem === null ? `✔ ${name}` : `✘ ${name}: ${problem}`);
    if (problem !== null) wrong++;
  };
  try {
    const trainer = copyTrainer(folder);
    for (const file of new Set(chosen.map(({ test }) => test))) {
      const { status, passed, said } = runTest(trainer, file);
      tell(`without a bug, ${file} passes`, status === 0 && passed > 0 ? null : said.slice(-1500) || 'it fails');
    }
    for (const bug of chosen) tell(bug.name, tryBug(trainer, bug));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${chosen.length} planted bugs, ${wrong} problems`);
  return wrong === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2).join(' '));
