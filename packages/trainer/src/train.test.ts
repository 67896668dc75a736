import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BatchNormMode, UserError, findRecipe, readSafetensors } from '@chameleon/core';
import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { listCheckpoints, newestCheckpoint, readCheckpoint } from './checkpoint.js';
import type { RunEvent } from './events.js';
import { openModel } from './model-bundle.js';
import { RunDirectory, readEvents } from './run-directory.js';
import { readRunRecord } from './run-record.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { resume, train } from './train.js';

beforeAll(startEngine);

describe('a run', () => {
  it('leaves a directory with all that DESIGN names, and a model that opens', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const outcome = await train(smallConfig(join(folder.path, 'data')), { out: join(folder.path, 'runs') }, surroundings());
    expect(outcome.reason).toBe('done');
    const { model, card } = await openModel(outcome.path);
    model.dispose();
    expect(card).toMatchObject({ architecture: 'resnet16w32', classes: ['plain', 'stripes'], imageSize: 32, validAccuracy: outcome.position.best!.accuracy });
    const record = await readRunRecord(outcome.path);
    expect(record).toMatchObject({ trainCount: 24, validCount: 6, recipe: 'discriminative' });
    expect(record.epochs).toHaveLength(2);
    expect(record.steps.map((row) => row.step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(record.predictions).toHaveLength(6);
    for (const { probabilities } of record.predictions) expect(probabilities.reduce((sum, p) => sum + p)).toBeCloseTo(1, 4);
  });

  it.each(['eval', 'batch-norm-only'] as BatchNormMode[])('that is interrupted and resumed ends with the same bits as one that was not (BatchNorm %s)', async (batchNorm) => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const recipe = findRecipe(batchNorm === 'eval' ? 'discriminative-bn-eval' : 'deep-head');
    const config = smallConfig(join(folder.path, 'data'), { recipe, schedule: { kind: 'one-cycle', warmUp: 0.3 } });
    const whole = await train(config, { out: folder.path, path: join(folder.path, 'whole') }, surroundings());
    const path = join(folder.path, 'parts');
    for (let stopAfter = 1, reason = ''; reason !== 'done'; stopAfter += 2) {
      const stop = new AbortController();
      const observe = (event: RunEvent) => event.type === 'step' && event.step === stopAfter && stop.abort();
      const around = surroundings({ signal: stop.signal, observe });
      reason = (await (stopAfter === 1 ? train(config, { out: folder.path, path }, around) : resume(path, around))).reason;
    }
    const last = whole.position.step;
    const [a, b] = await Promise.all([readCheckpoint(whole.path, last), readCheckpoint(path, last)]);
    expect(Buffer.compare(a.model, b.model)).toBe(0);
    expect(Buffer.compare(a.optimizer, b.optimizer)).toBe(0);
    const losses = async (run: string) => (await readRunRecord(run)).steps.map(({ step, loss }) => [step, loss]);
    expect(await losses(path)).toEqual(await losses(whole.path));
  });

  it('takes a change of the live run again at its step when it goes on from a state before it', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const path = join(folder.path, 'run'), stop = new AbortController();
    await train(smallConfig(join(folder.path, 'data'), { schedule: { kind: 'constant' } }), { out: folder.path, path }, surroundings({ signal: stop.signal, observe: (event) => event.type === 'step' && stop.abort() }));
    await appendFile(join(path, 'events.jsonl'), `${JSON.stringify({ type: 'change', time: new Date().toISOString(), id: 1, step: 3, epoch: 0, change: { kind: 'set-rate', group: 'head', learningRate: 0.5e-3 } })}\n`);
    const { position } = await resume(path, surroundings());
    expect(position.changes).toEqual([{ step: 3, change: { kind: 'set-rate', group: 'head', learningRate: 0.5e-3 } }]);
    const events = await readEvents(path);
    expect(events.filter((event) => event.type === 'change')).toMatchObject([{ id: 1, step: 3 }]);
    const rates = events.flatMap((event) => (event.type === 'step' ? [event.learningRates['head']] : []));
    expect(rates).toEqual(rates.map((_, i) => (i < 3 ? 1e-3 : 0.5e-3)));
    expect((await readRunRecord(path)).changes).toEqual([{ step: 3, epoch: 0, text: 'learning rate of head set to 0.0005' }]);
  });

  it('passes over a torn checkpoint and goes on from the one before', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const { path } = await train(smallConfig(join(folder.path, 'data'), { keepCheckpoints: 3 }), { out: folder.path }, surroundings());
    const newest = (await listCheckpoints(path)).at(-1)!;
    const file = join(path, 'checkpoints', String(newest).padStart(8, '0'), 'model.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(file, bytes);
    expect(await newestCheckpoint(path)).toMatchObject({ step: 3, torn: [newest] });
    expect((await resume(path, surroundings())).position.step).toBe(newest);
    expect((await readEvents(path)).filter((event) => event.type === 'fault')).toHaveLength(1);
  });

  it('says that the loss diverged, and keeps its directory', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const path = join(folder.path, 'run');
    const config = smallConfig(join(folder.path, 'data'), { optimizer: 'sgd', learningRate: 1000, recipe: findRecipe('from-scratch'), epochs: 8 });
    await expect(train(config, { out: folder.path, path }, surroundings())).rejects.toThrow(/no longer a number at step \d+.*--learning-rate/s);
    expect((await readEvents(path)).at(-1)).toMatchObject({ type: 'fault' });
  });

  it('leaves out what can’t be decoded when told to, and names it when not', async () => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'data');
    await drawSmallDataset(data);
    await writeFile(join(data, 'plain', '009.png'), (await readFile(join(data, 'plain', '009.png'))).subarray(0, 90));
    await expect(train(smallConfig(data), { out: folder.path }, surroundings())).rejects.toThrow(/plain\/009\.png.*--skip-bad-images/s);
    const { path } = await train(smallConfig(data, { skipBadImages: true }), { out: folder.path }, surroundings());
    expect((await readRunRecord(path)).skipped.map((skipped) => skipped.path)).toEqual([expect.stringContaining('plain/009.png')]);
  });

  it('is refused where its directory exists, or another process trains in it', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const config = smallConfig(join(folder.path, 'data'), { epochs: 1 });
    const path = join(folder.path, 'run');
    await train(config, { out: folder.path, path }, surroundings());
    await expect(train(config, { out: folder.path, path }, surroundings())).rejects.toThrow(/exists already.*--resume/s);
    await using open = await RunDirectory.open(path);
    expect(open.id).toBe('run');
    await expect(resume(path, surroundings())).rejects.toThrow(/Another process/);
  });

  it('is not resumed on other data', async () => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'data');
    await drawSmallDataset(data);
    const { path } = await train(smallConfig(data, { epochs: 1 }), { out: folder.path }, surroundings());
    await writeFile(join(data, 'plain', '007.png'), await readFile(join(data, 'stripes', '007.png')));
    await expect(resume(path, surroundings())).rejects.toThrow(/not what this run began with.*plain\/007\.png/s);
  });

  it('stops early when validation no longer gets better', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const config = smallConfig(join(folder.path, 'data'), { recipe: findRecipe('feature-extractor'), learningRate: 1e-12, patience: 2, epochs: 9 });
    const outcome = await train(config, { out: folder.path }, surroundings());
    expect(outcome).toMatchObject({ reason: 'stopped early', position: { epoch: 3 } });
  });

  it('keeps the newest checkpoints and the best', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const { path, position } = await train(smallConfig(join(folder.path, 'data'), { epochs: 4, keepCheckpoints: 1, checkpointEvery: 1 }), { out: folder.path }, surroundings());
    expect(new Set(await listCheckpoints(path))).toEqual(new Set([position.best!.step, position.step]));
  });

  it('lets go of every tensor', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const before = memory().numTensors;
    await train(smallConfig(join(folder.path, 'data')), { out: folder.path }, surroundings());
    expect(memory().numTensors).toBe(before);
  });

  it('computed in parts has the gradients of the whole batch', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const config = (accumulate: number) => smallConfig(join(folder.path, 'data'), { accumulate, epochs: 1, recipe: findRecipe('discriminative-bn-eval'), optimizer: 'sgd' });
    const one = await train(config(1), { out: folder.path, path: join(folder.path, 'one') }, surroundings());
    const four = await train(config(4), { out: folder.path, path: join(folder.path, 'four') }, surroundings());
    const head = async (path: string) => new Float32Array(readSafetensors((await readCheckpoint(path, 3)).model).tensors.get('fc.weight')!.bytes.slice().buffer);
    const [a, b] = await Promise.all([head(one.path), head(four.path)]);
    expect(a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0)).toBeLessThan(1e-4);
  });

  it('refuses a configuration that can’t work', () => {
    expect(() => smallConfig('data', { batchSize: 2, accumulate: 4 })).toThrow(UserError);
    expect(() => smallConfig('data', { learningRate: -1 })).toThrow(/learningRate/);
  });
});
