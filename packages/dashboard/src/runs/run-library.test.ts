import { appendFile, mkdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/prometheus.js';
import { epochLine, finishLine, startLine, stepLine, writeRun } from '../testing/runs.js';
import { readExperiments } from './experiments.js';
import { readMistakes, readPicture } from './mistakes.js';
import { RunLibrary, flatten } from './run-library.js';

const NOW = Date.now();

describe('run directories', () => {
  it('are listed newest first, by a part of their name, fifty at a time', async () => {
    await using folder = await temporaryFolder();
    for (let i = 10; i < 70; i++) await writeRun(folder.path, `run-${i}`, { stepCount: 2 });
    await writeFile(join(folder.path, 'no-run'), '');
    const library = new RunLibrary(folder.path);
    const { runs, total } = await library.list({}, NOW);
    expect([runs.length, total, runs[0]!.id]).toEqual([50, 60, 'run-69']);
    expect((await library.list({ filter: '-3', offset: 1, limit: 2 }, NOW)).runs.map(({ id }) => id)).toEqual(['run-38', 'run-37']);
    expect(runs[0]).toMatchObject({ state: 'done', recipe: 'discriminative', architecture: 'resnet18', step: 2, stepCount: 2, bestAccuracy: 0.9 });
  });

  it.each([
    ['done', [startLine([], 9), stepLine(1, 1), finishLine(1)]],
    ['stopped early', [startLine([], 9), finishLine(1, 'stopped early')]],
    ['interrupted', [startLine([], 9), finishLine(1, 'interrupted')]],
    ['running', [startLine([], 9), finishLine(1, 'interrupted'), JSON.stringify({ type: 'resume', time: new Date(0).toISOString(), step: 1, epoch: 0 })]],
    ['running', [startLine([], 9), stepLine(1, 1), '{"type":"step","ti']],
    ['failed', [startLine([], 9), stepLine(1, null), JSON.stringify({ type: 'fault', time: new Date(0).toISOString(), message: 'diverged' })]],
    ['empty', []],
  ])('say that a run is %s', async (state, lines) => {
    await using folder = await temporaryFolder();
    const path = await writeRun(folder.path, 'r');
    await writeFile(join(path, 'events.jsonl'), lines.join('\n'));
    expect((await new RunLibrary(folder.path).list({}, Date.now())).runs[0]!.state).toBe(state);
  });

  it('mark what was changed of the live run, where the ranks took it, once', async () => {
    await using folder = await temporaryFolder();
    const time = new Date(NOW).toISOString();
    const rate = { type: 'change', time, id: 1, step: 20, epoch: 0, change: { kind: 'set-rate', group: 'head', learningRate: 0.0005 } }, unfreeze = { type: 'change', time, id: 2, step: 35, epoch: 0, change: { kind: 'unfreeze' } };
    const lines = [{ type: 'command', time, command: 'unfreeze', detail: {} }, rate, unfreeze, { type: 'generation', time, generation: 2, step: 30, epoch: 0, workers: ['a'], split: [8], reason: 'b was lost' }, unfreeze];
    await writeRun(folder.path, 'r', { end: lines.map((line) => JSON.stringify(line)).join('\n') });
    expect((await new RunLibrary(folder.path).detail('r', NOW))!.marks.map(({ step, kind, text }) => [step, kind, text])).toEqual([
      [20, 'change', 'learning rate of head set to 0.0005'], [30, 'generation', 'generation 2 of 1 workers: b was lost'], [35, 'change', 'everything learns'],
    ]);
  });

  it('say that a run is silent when it has said nothing for two minutes', async () => {
    await using folder = await temporaryFolder();
    const path = await writeRun(folder.path, 'r', { end: stepLine(41, 1) });
    await utimes(join(path, 'events.jsonl'), NOW / 1000 - 300, NOW / 1000 - 300);
    expect((await new RunLibrary(folder.path).list({}, NOW)).runs[0]!.state).toBe('silent');
  });

  it('are read on as they grow, and go back with their run', async () => {
    await using folder = await temporaryFolder();
    const path = await writeRun(folder.path, 'r', { end: stepLine(41, 0.5) });
    const events = join(path, 'events.jsonl');
    const library = new RunLibrary(folder.path);
    expect((await library.record('r')).curve.lastStep).toBe(41);
    await appendFile(events, `${stepLine(42, 0.4)}\n${stepLine(43, 0.3).slice(0, 30)}`);
    expect((await library.record('r')).curve.lastStep).toBe(42);
    await appendFile(events, `${stepLine(43, 0.3).slice(30)}\n${JSON.stringify({ type: 'generation', time: new Date(NOW).toISOString(), generation: 2, step: 30, epoch: 0, workers: ['a', 'b'], split: [8, 8], reason: 'c was lost' })}\n${stepLine(31, 9)}\n`);
    const detail = await library.detail('r', NOW);
    expect(detail!.epochs).toEqual([]);
    expect(detail!.marks.at(-1)).toMatchObject({ kind: 'generation', step: 30, text: 'generation 2 of 2 workers: c was lost' });
    expect((await library.record('r')).curve.points(29, 99, 99).loss.map((loss) => Number(loss.toFixed(3)))).toEqual([0.034, 0.033, 9]);
    await truncate(events, 0);
    await appendFile(events, `${startLine(['x'], 3)}\n`);
    expect(await library.detail('r', NOW)).toMatchObject({ classes: ['x'], marks: [], epochs: [] });
  });

  it('with lines that are none count them, and are read all the same', async () => {
    await using folder = await temporaryFolder();
    const path = await writeRun(folder.path, 'r');
    await writeFile(join(path, 'events.jsonl'), `${['nonsense', '{"type":"step","step":"one"}', '[]', '{"type":"news","time":"now"}', startLine(['<script>alert(1)</script>'], 3), stepLine(1, null), epochLine(0, 1, 0.5)].join('\n')}\n`);
    await writeFile(join(path, 'run.yaml'), ': [broken');
    const detail = await new RunLibrary(folder.path).detail('r', NOW);
    expect(detail).toMatchObject({ brokenLines: 3, classes: ['<script>alert(1)</script>'], config: {}, readShare: 1 });
    expect(detail!.epochs).toHaveLength(1);
  });

  it('are found by name alone, never by path', async () => {
    await using folder = await temporaryFolder();
    await writeRun(folder.path, 'r');
    const library = new RunLibrary(join(folder.path, 'r'));
    for (const id of ['', '.', '..', '../r', 'a/b', 'a\\b', '\0']) expect(await library.pathOf(id)).toBeNull();
  });
});

describe('mistakes', () => {
  it('count which class was told for which, and have the surest errors first', async () => {
    await using folder = await temporaryFolder();
    const lines = [[0, [0.9, 0.1]], [0, [0.2, 0.8]], [1, [0.95, 0.05]], [1, [null, 0.6]], [0, [null, null]]].map(([label, probabilities], i) => JSON.stringify({ path: `${i}.jpg`, label, probabilities }));
    await writeFile(join(folder.path, 'validation.jsonl'), `${['broken', ...lines].join('\n')}\n`);
    const found = await readMistakes(folder.path, ['cat', 'dog']);
    expect(found).toMatchObject({ judgedCount: 4, wrongCount: 2, cells: [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]] });
    expect(found.mistakes.map(({ index, path, probability }) => [index, path, probability])).toEqual([[3, '2.jpg', 0.95], [2, '1.jpg', 0.8]]);
  });

  it('show pictures of the data folder alone, and only what is a picture', async () => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'data');
    await mkdir(data);
    await writeFile(join(folder.path, 'secret.jpg'), Buffer.from([0xff, 0xd8, 0xff, 1]));
    await writeFile(join(data, 'a.jpg'), Buffer.from([0xff, 0xd8, 0xff, 1]));
    await writeFile(join(data, 'b.jpg'), '<svg onload=alert(1)>');
    await symlink(join(folder.path, 'secret.jpg'), join(data, 'link.jpg'));
    expect(await readPicture(data, 'a.jpg')).toMatchObject({ type: 'image/jpeg' });
    for (const path of ['b.jpg', '../secret.jpg', 'link.jpg', '/etc/passwd', 'none.jpg', '.']) expect(await readPicture(data, path), path).toBeNull();
  });
});

describe('experiments', () => {
  it("have Student's interval beside the article's figure", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'experiments.json');
    await writeFile(file, JSON.stringify({ title: 't', dataset: 'd', architecture: 'a', epochs: 2, command: 'c', rows: [{ recipe: 'discriminative', accuracies: [0.9, 0.92, 0.94] }, { recipe: 'mine', accuracies: [0.5] }] }));
    const found = await readExperiments(file);
    // The deviation is 0.02, and t of two degrees of freedom 4.302653.
    expect(found!.rows[0]).toMatchObject({ count: 3, article: 0.993711 });
    expect(found!.rows[0]!.low).toBeCloseTo(0.8703172, 6);
    expect(found!.rows[0]!.high).toBeCloseTo(0.9696828, 6);
    expect(found!.rows[1]).toEqual({ recipe: 'mine', mean: 0.5, low: 0.5, high: 0.5, count: 1, article: null });
    await writeFile(file, '{');
    expect(await readExperiments(file)).toBeNull();
  });
});

it('nested settings are one list', () => {
  expect(flatten({ a: 1, b: { c: [1, 2], d: { e: null } }, f: [{ g: true }] })).toEqual({ a: '1', 'b.c': '1, 2', 'b.d.e': 'null', 'f.0.g': 'true' });
});
