import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { drawDataset } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Command } from 'commander';
import { createProgram } from './main.js';
import { chameleon, chameleonHere, temporaryFolder } from './testing/chameleon.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const run = (...args: string[]) => chameleon(folder.path, args);

beforeAll(async () => {
  folder = await temporaryFolder();
  await drawDataset(join(folder.path, 'photos'), { count: 30, size: 64 });
});
afterAll(() => folder[Symbol.asyncDispose]());

/** The commands that do something: those without commands of their own. */
const leavesOf = (command: Command): Command[] => (command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf));
/** As it is typed after `chameleon`. */
const nameOf = (command: Command): string => [...(command.parent?.parent ? [nameOf(command.parent)] : []), command.name()].join(' ');

describe('the command line', () => {
  it.each(leavesOf(createProgram()).map((command) => [nameOf(command), command] as const))('has an example in the help of %s', (name, command) => {
    let text = '';
    command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
    expect(text.split(/Examples?:\n/)[1]).toMatch(new RegExp(`^  chameleon ${name}\\b`, 'm'));
    expect(command.description()).toMatch(/^[A-Z].*\.$/s);
  });

  it('trains, shows, evaluates and predicts', async () => {
    const trained = await run('train', '--data', 'photos', '--epochs', '2', '--image-size', '32', '--json');
    expect(trained.err).toBe('');
    const events = trained.out.trim().split('\n').map((line) => JSON.parse(line) as { type: string });
    expect(events.at(0)?.type).toBe('start');
    expect(events.at(-1)?.type).toBe('finish');
    expect((await run('runs', 'list')).out).toContain('2/2');
    expect((await run('runs', 'show', 'last')).out).toContain('discriminative-bn-eval, resnet16w32');
    const judged = JSON.parse((await run('evaluate', '--model', 'last', '--data', 'photos', '--json')).out) as { pictures: number; top1: number };
    expect(judged.pictures).toBe(30);
    const predicted = await run('predict', 'photos/normal_clothes/0000.jpg', '--json');
    expect((JSON.parse(predicted.out) as { classes: unknown[] }).classes).toHaveLength(2);
    const report = (await run('report', 'last', '--to', 'report.html')).out.trim();
    expect(await readFile(join(folder.path, report), 'utf8')).toContain('<!doctype html>');
  });

  it('measures steps of what it is asked for', async () => {
    const rows = (await run('bench', '--arch', 'resnet16w32', '--kind', 'full,eval', '--batch-size', '2', '--image-size', '32', '--steps', '3', '--precision', 'float32', '--json')).out.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(rows).toMatchObject([{ kind: 'full', steps: 3, batchSize: 2 }, { kind: 'eval' }]);
    for (const { stepMs, picturesPerSecond } of rows as Record<string, number>[]) expect(stepMs! * picturesPerSecond!).toBeCloseTo(2 * 1000);
    expect(rows[0]!['peakBytes']).toBeGreaterThan(rows[1]!['peakBytes'] as number);
    expect(await chameleonHere(folder.path, ['bench', '--kind', 'half'])).toMatchObject({ code: 2, err: expect.stringContaining('full, batch-stats, eval, batch-norm-only') as string });
  });

  it.each([
    [['--backend', 'cpu'], 'The backend cpu does not compute on cuda.'],
    [['--backend', 'libtorch'], 'This libtorch finds no device cuda.'],
  ])('says why %s does not compute on a GPU here', async (backend, why) => {
    const { hasCuda } = await import('@chameleon/tfjs-libtorch');
    if (hasCuda()) return;
    expect(await chameleonHere(folder.path, ['train', '--data', 'photos', '--device', 'cuda', ...backend])).toMatchObject({ code: 2, err: expect.stringContaining(why) as string });
  });

  it('packs a folder into shards, and takes them wherever it takes the folder', async () => {
    const here = (...args: string[]) => chameleonHere(folder.path, args);
    const packed = await here('dataset', 'prepare', 'shards', 'photos', 'packed', '--shard-size', '1');
    expect(packed).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^packed\/shard-000000\.tar {2}30 pictures, 0\.\d MB\n$/) as string });
    const losses = async (data: string) => (await run('train', '--data', data, '--epochs', '1', '--image-size', '32', '--json')).out.trim().split('\n').map((line) => (JSON.parse(line) as { loss?: number }).loss);
    expect(await losses('packed')).toEqual(await losses('photos'));
    const judged = async (data: string) => (await run('evaluate', '--model', 'last', '--data', data, '--json')).out;
    expect(await judged('packed')).toBe(await judged('photos'));
    const checked = async (folder: string) => (await here('dataset', 'check', folder, '--json')).out;
    expect(await checked('packed')).toBe(await checked('photos'));
    for (const pictures of [[], ['--pictures', 'packed']]) expect((await run('export', 'last', '--to', 'safetensors', '--into', `exported${pictures.length}`, ...pictures)).out).toMatch(/The same answers on \d+ pictures/);
    expect(await here('dataset', 'prepare', 'shard', 'photos', 'more')).toMatchObject({ code: 2, err: expect.stringContaining('Did you mean shards?') as string });
    expect(await here('dataset', 'prepare', 'folders', 'a.zip', 'more', '--shard-size', '5')).toMatchObject({ code: 2, err: expect.stringContaining('--shard-size is for packing') as string });
  });

  it('runs experiments into a table and a report', async () => {
    const { out, code } = await run('experiments', '--data', 'photos', '--seeds', '2', '--epochs', '1', '--image-size', '32', '--recipes', 'feature-extractor,feature-extractor-bn-eval', '--markdown');
    expect(code).toBe(0);
    expect(out).toMatch(/\| feature-extractor-bn-eval \|/);
    const record = JSON.parse(await readFile(join(folder.path, 'runs/experiments/experiments.json'), 'utf8')) as { startedAt: string };
    expect(record).toMatchObject({ dataset: 'photos', weights: 'embedded', seeds: [0, 1], trainCount: 24, validCount: 6, rows: [{ accuracies: { length: 2 } }, { accuracies: { length: 2 } }] });
    expect(record).toMatchObject({ command: expect.stringMatching(/--data photos --weights embedded --arch resnet16w32 --epochs 1 .*--image-size 32 .*--seeds 2 --recipes feature-extractor,feature-extractor-bn-eval$/) as string });
    expect(Date.parse(record.startedAt)).toBeLessThanOrEqual(Date.now());
  });

  it('finds a learning rate', async () => {
    const { out } = await run('lr-find', '--data', 'photos', '--steps', '8', '--image-size', '32', '--json');
    expect((JSON.parse(out) as { points: unknown[] }).points.length).toBeGreaterThan(3);
  });

  it('reads settings from the environment and from a file, flags first', async () => {
    await mkdir(join(folder.path, 'conf'), { recursive: true });
    await writeFile(join(folder.path, 'conf', 'run.yaml'), 'data: photos\nepochs: 3\nimageSize: 32\nrecipe: feature-extractor\n');
    const epochs = async (environment: Record<string, string>, ...args: string[]) => {
      const { out } = await chameleon(folder.path, ['train', '--config', 'conf/run.yaml', '--json', ...args], { environment });
      return out.trim().split('\n').map((line) => JSON.parse(line) as { type: string }).filter((event) => event.type === 'epoch').length;
    };
    expect(await epochs({ CHAMELEON_EPOCHS: '2' })).toBe(2);
    expect(await epochs({ CHAMELEON_EPOCHS: '2' }, '--epochs', '1')).toBe(1);
  });
});
