import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const PYTHON = '/usr/bin/python3';
const hasTorch = spawnSync(PYTHON, ['-c', 'import torchvision'], { stdio: 'ignore' }).status === 0;
const isBuilt = existsSync(join(root, 'packages/tfjs-libtorch/build/tfjs_libtorch.node')) && existsSync(join(root, 'packages/trainer/dist/training-step.js'));
const bench = (...args) => spawnSync(process.execPath, ['tools/bench/main.mjs', ...args], { cwd: root, encoding: 'utf8', timeout: 120_000 });

describe('npm run bench', () => {
  it('says what it can do, and what was wrong with a call', () => {
    expect(bench('--help').stdout).toContain('npm run bench -- --json --to');
    for (const [args, said] of [[['nothing'], 'There is no benchmark called nothing'], [['--kinds', 'fulll'], "--kinds doesn't know fulll. Choose of full"], [['--steps', '0'], '--steps takes a whole number from 1'], [['--nonsense'], '--nonsense']]) {
      const { status, stderr } = bench(...args);
      expect(status, args.join(' ')).toBeGreaterThan(0);
      expect(stderr).toContain(said);
    }
  });

  it.skipIf(!hasTorch || !isBuilt)('compares with PyTorch, row by row (needs a build and Debian\'s python3-torchvision)', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
    try {
      const file = join(folder, 'train.json');
      const { stdout, stderr } = bench('--kinds', 'eval,full', '--precision', 'float32', '--arch', 'resnet18', '--size', '32', '--batch', '2', '--blocks', '1', '--steps', '1', '--json', '--to', file);
      expect(stderr).toBe('');
      const rows = JSON.parse(stdout);
      expect(rows.map(({ kind }) => kind)).toEqual(['eval', 'full']);
      for (const row of rows) for (const name of ['pytorchMs', 'chameleonMs', 'ratio', 'pytorchPeakMiB', 'chameleonPeakMiB']) expect(row[name], name).toBeGreaterThan(0);
      expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ rows, batch: 2, versions: { pytorch: expect.any(String) } });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
