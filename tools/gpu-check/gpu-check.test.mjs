import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const hasGpu = existsSync('/proc/driver/nvidia/version');
const hasTorch = spawnSync('/usr/bin/python3', ['-c', 'import torch'], { stdio: 'ignore' }).status === 0;

it('explains itself, and says what was wrong with a call', () => {
  const check = (...args) => spawnSync(process.execPath, [here('main.mjs'), ...args], { encoding: 'utf8', timeout: 60_000 });
  expect(check('--help').stdout).toContain('bash gpu-check/run.sh');
  for (const [args, said] of [[['unpack'], 'no command unpack'], [['run', '--device', 'tpu'], "--device doesn't know tpu. Choose of cuda, cpu"], [['run', '--only', 'speed'], "--only doesn't know speed"]]) {
    const { status, stderr } = check(...args);
    expect(status, args.join(' ')).toBe(2);
    expect(stderr).toContain(said);
  }
});

it.skipIf(hasGpu || !hasTorch)('without a GPU says so for each stage, ends with 1 and leaves its results (needs a python3 with torch)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chameleon-gpu-check-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'results.json');
  const { status, stdout } = spawnSync('bash', [here('run.sh'), '--only', 'conformance,bench', '--to', file], { env: { ...process.env, PYTHON: '/usr/bin/python3' }, encoding: 'utf8', timeout: 60_000 });
  expect(status, stdout).toBe(1);
  expect(stdout).toMatch(/^There is no CUDA device here that torch \S+ can use: look at `nvidia-smi`, or pass --device cpu\.\n✘ conformance .*\n✘ bench /);
  const { machine, python, stages } = JSON.parse(readFileSync(file, 'utf8'));
  expect(machine).toMatchObject({ gpus: [], node: expect.any(String) });
  expect(python).toMatchObject({ gpu: null, torch: expect.any(String) });
  expect(Object.keys(stages)).toEqual(['conformance', 'bench']);
  expect(Object.values(stages).every(({ passed, error }) => !passed && error.startsWith('There is no CUDA device'))).toBe(true);
});
