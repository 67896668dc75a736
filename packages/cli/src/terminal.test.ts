import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { drawDataset } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BIN, chameleon, plainEnvironment, temporaryFolder } from './testing/chameleon.js';

const TRAIN = ['train', '--data', 'photos', '--epochs', '1', '--image-size', '32', '--recipe', 'feature-extractor-bn-eval'];

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  await drawDataset(join(folder.path, 'photos'), { count: 60, size: 48 });
});
afterAll(() => folder[Symbol.asyncDispose]());

/** util-linux's `script` makes the terminal. */
const hasScript = spawnSync('script', ['--version']).status === 0;

/** What a terminal of so many columns is sent. */
function onTerminal(columns: number, args: readonly string[]): string {
  const command = `stty cols ${columns}; '${process.execPath}' '${BIN}' ${args.join(' ')}`;
  return spawnSync('script', ['-qec', command, '/dev/null'], { cwd: folder.path, env: plainEnvironment({ TERM: 'xterm' }), encoding: 'utf8', input: '' }).stdout;
}

/** What stands in each line of the terminal, one after another: a line that is written over gives several. */
const drawings = (text: string) => text.split(/\r\n|\r|\x1b\[1G/).map((part) => stripVTControlCharacters(part)).filter((part) => part !== '');

describe.skipIf(!hasScript)('on a terminal (skipped where there is no `script` to make one)', () => {
  it('of 40 columns progress fits into one line, and an epoch too', () => {
    const shown = drawings(onTerminal(40, TRAIN));
    const progress = shown.filter((line) => /\d\/\d+$/.test(line));
    expect(progress).toContain('looking at the pictures 60/60');
    expect(progress).toContain('epoch 1/1 3/3');
    expect(Math.max(...progress.map((line) => line.length))).toBeLessThan(40);
    expect(shown.find((line) => line.includes('validation'))).toMatch(/^1\/1 {2}validation [\d.]+ {2}loss [\d.]+$/);
  });

  it('of 40 columns a table that is wider is told line by line', () => {
    expect(drawings(onTerminal(40, ['weights', 'list'])).slice(0, 4)).toEqual(['name embedded', '  architecture resnet16w32', '  state embedded', '  MB 3.4']);
  });

  it('of 100 columns each step moves a bar, which is gone in the end', () => {
    const text = onTerminal(100, TRAIN);
    const bars = drawings(text).filter((line) => line.includes('█') || line.includes('░'));
    expect(bars.at(-1)).toMatch(/^epoch 1\/1 █{30} 3\/3 loss [\d.]+ *$/);
    for (const bar of bars) expect(bar).toMatch(/^(looking at the pictures|epoch 1\/1) █*░* \d+\/\d+ [^\n]*$/);
    expect(Math.max(...bars.map((line) => line.length))).toBeLessThan(100);
    expect(text).toContain('\x1b[?25h');
  });
});

describe('without a terminal', () => {
  it('a run is a few plain lines: no bar, no colour, nothing written over', async () => {
    const { out, err, code } = await chameleon(folder.path, TRAIN, { environment: { CI: 'true' } });
    expect(code).toBe(0);
    expect(out + err).not.toMatch(/[\x1b\r█░]/);
    expect(err.trim().split('\n')).toEqual([expect.stringMatching(/^computing with /), '48 pictures to train with, 12 to judge by, 2 classes: camouflage_clothes, normal_clothes']);
    expect(out.split('\n')[0]).toMatch(/^epoch 1\/1 {2}loss [\d.]+ {2}accuracy [\d.]+ {2}validation [\d.]+ {2}\d+ pictures\/s$/);
  });

  it('a table and an error are plain too', async () => {
    const table = await chameleon(folder.path, ['weights', 'list'], { environment: { CI: 'true' } });
    expect(table.out).toContain('│ embedded ');
    const failed = await chameleon(folder.path, ['weights', 'pull', 'resnet43'], { environment: { CI: 'true' } });
    expect(failed.err).toMatch(/^error: There are no weights called resnet43/);
    expect(table.out + failed.err).not.toMatch(/\x1b/);
  });
});

it('ends quietly when whoever reads its output has seen enough', () => {
  const { stdout, stderr } = spawnSync('sh', ['-c', `'${process.execPath}' '${BIN}' train --help | head -n 1`], { env: plainEnvironment(), encoding: 'utf8' });
  expect([stdout, stderr]).toEqual(['Usage: chameleon train [options]\n', '']);
});
