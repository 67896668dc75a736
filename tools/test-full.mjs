#!/usr/bin/env node
// The long test: everything that `npm test` does, with the long forms of the tests that have one, and the proofs that take too long for every day.
import { spawnSync } from 'node:child_process';

/** What the long test runs, in order. A step fails when its command does; the others run all the same. */
const steps = [
  { name: 'every test, in its long form', command: 'npx nx run-many --targets=lint,typecheck,test --parallel=1 --outputStyle=stream --skip-nx-cache' },
  { name: 'the libtorch backend under the address sanitizer', command: 'node tools/conformance/sanitizer.mjs' },
  { name: 'the libtorch backend on Node 24', command: 'node tools/conformance/other-node.mjs 24' },
  { name: 'planted bugs, each noticed by its test', command: 'node tools/planted-bugs/main.mjs' },
];

const results = steps.map(({ name, command }) => {
  console.log(`\n▶ ${name}\n  ${command}`);
  const started = Date.now();
  const { status } = spawnSync(command, { shell: true, stdio: 'inherit', env: { ...process.env, CHAMELEON_TEST_FULL: '1' } });
  return { name, passed: status === 0, minutes: (Date.now() - started) / 60_000 };
});
console.log('');
for (const { name, passed, minutes } of results) console.log(`${passed ? '✔' : '✘'} ${name} (${minutes.toFixed(1)} min)`);
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;
