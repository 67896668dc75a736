import { join } from 'node:path';
import { findRecipe, stateDictOf } from '@chameleon/core';
import { type Dataset, PictureLoader, epochOrder, openDataset } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { START } from './checkpoint.js';
import type { TrainConfig } from './config.js';
import type { Evaluation } from './evaluation.js';
import type { NewEvent } from './events.js';
import { type FitResult, createOptimizer, fit } from './fit.js';
import { evenSplit, sliceOf } from './membership/split.js';
import type { AskedChange } from './live/change.js';
import { memoryExchanges } from './testing/memory-exchange.js';
import { drawSmallDataset, smallConfig, startEngine, temporaryFolder } from './testing/small-run.js';
import { startModel } from './train.js';
import { sampleHash } from './training-step.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataset: Dataset;
beforeAll(async () => {
  await startEngine();
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'data'));
  dataset = await openDataset(join(folder.path, 'data'));
});
afterAll(() => folder[Symbol.asyncDispose]());

interface Ran {
  result: FitResult;
  events: NewEvent[];
  weights: Float32Array;
  shown: Evaluation | null;
}

/** Trains over so many ranks in this process; gives what each of them has at the end. */
async function trainOver(worldSize: number, config: TrainConfig, signals: AbortSignal[] = [], askedBy: (rank: number, stepsDone: number) => AskedChange[] = () => []): Promise<Ran[]> {
  const split = evenSplit(config.batchSize, worldSize);
  await using loader = new PictureLoader(dataset, { imageSize: config.imageSize, workers: 1 });
  return await Promise.all(memoryExchanges(worldSize).map(async (exchange, rank) => {
    const model = startModel(config, 2, { name: 'random', tensors: null }), optimizer = createOptimizer(config);
    const events: NewEvent[] = [];
    let shown: Evaluation | null = null;
    try {
      const result = await fit({
        config, dataset, model, optimizer, loader, exchange, start: START, signal: signals[rank] ?? new AbortController().signal,
        slice: (rows) => sliceOf(split, rank, rows),
        askedChanges: () => askedBy(rank, steps(events).length),
        emit: (event) => Promise.resolve(void events.push(event)),
        checkpoint: (_, atEnd) => Promise.resolve(void (shown = atEnd?.best ? atEnd.evaluation : shown)),
      });
      const weights = [...stateDictOf(model).values()].flatMap(({ dtype, bytes }) => (dtype === 'F32' ? [...new Float32Array(bytes.slice().buffer)] : []));
      return { result, events, weights: Float32Array.from(weights), shown };
    } finally {
      model.dispose();
      optimizer.dispose();
    }
  }));
}

const largestDifference = (a: Float32Array, b: Float32Array) => a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
const steps = (events: NewEvent[]) => events.filter((event) => event.type === 'step');

describe('a live run that is changed', () => {
  const asked = (...steps: (number | null)[]): AskedChange[] => [{ step: steps[0]!, change: { kind: 'set-rate', group: 'head', learningRate: 0.0004 } }, { step: steps[1]!, change: { kind: 'unfreeze' } }];
  const config = () => smallConfig(dataset.root, { recipe: findRecipe('feature-extractor-bn-eval'), epochs: 3, schedule: { kind: 'constant' } });

  it('takes each change on all ranks after the step in which the last of them had heard of it, also in the middle of an epoch', async () => {
    const ran = await trainOver(2, config(), [], (rank, done) => asked(null, null).slice(0, done >= (rank === 0 ? 1 : 3) ? 2 : 0));
    for (const { events, result } of ran) {
      expect(events.filter((event) => event.type === 'change').map(({ id, step, change }) => [id, step, change.kind])).toEqual([[1, 4, 'set-rate'], [2, 5, 'unfreeze']]);
      expect(result.position.changes.map(({ step }) => step)).toEqual([4, 5]);
      expect(steps(events).map(({ learningRates }) => Object.values(learningRates).length)).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2]);
      expect(steps(events)[4]!.learningRates).toEqual({ head: 0.0004 });
      expect(steps(events)[5]!.learningRates).toEqual({ head: 0.0004, body: config().learningRate * 0.01 });
    }
  });

  it('has the same curve and weights with one, two and three ranks, and another one than without the changes', async () => {
    const [one, two, three, unchanged] = [await trainOver(1, config(), [], () => asked(2, 4)), await trainOver(2, config(), [], () => asked(2, 4)), await trainOver(3, config(), [], () => asked(2, 4)), await trainOver(1, config())];
    const curve = (ran: Ran[]) => steps(ran[0]!.events).map(({ loss }) => loss);
    for (const other of [two, three]) {
      curve(other).forEach((loss, i) => expect(loss).toBeCloseTo(curve(one)[i]!, 4));
      expect(largestDifference(one[0]!.weights, other[0]!.weights)).toBeLessThan(1e-4);
    }
    expect(largestDifference(one[0]!.weights, unchanged[0]!.weights)).toBeGreaterThan(1e-4);
  });
});

describe('a run over several ranks', () => {
  const config = () => smallConfig(join(folder.path, 'data'), { recipe: findRecipe('discriminative-bn-eval'), epochs: 2, batchSize: 7 });
  const ran = new Map<number, Promise<Ran[]>>();
  const over = (worldSize: number) => ran.get(worldSize) ?? ran.set(worldSize, trainOver(worldSize, config())).get(worldSize)!;

  it.each([2, 4])('of %i has the curve and the weights of one', async (worldSize) => {
    const [one] = await over(1);
    const ranks = await over(worldSize);
    for (const { weights, events, result } of ranks) {
      expect(largestDifference(weights, ranks[0]!.weights)).toBe(0);
      expect(largestDifference(weights, one!.weights)).toBeLessThan(2e-4);
      steps(events).forEach((event, i) => expect(event.loss).toBeCloseTo(steps(one!.events)[i]!.loss, 4));
      expect(result.position.history).toEqual(one!.result.position.history);
    }
  });

  it('takes each picture once an epoch, whoever takes it, also in a last batch that is smaller than the ranks are many', async () => {
    const [rank] = await over(4);
    const { seed, batchSize, epochs } = config();
    for (let epoch = 0, step = 0; epoch < epochs; epoch++) {
      const order = epochOrder(dataset.train.length, seed, epoch);
      for (let from = 0; from < order.length; from += batchSize, step++) {
        const expected = order.subarray(from, from + batchSize);
        expect(steps(rank!.events)[step]).toMatchObject({ epoch, pictures: expected.length, samples: expected.reduce((sum, index) => sum + sampleHash(epoch, index), 0) });
      }
    }
  });

  it('judges every validation picture once, and each rank has what all of them said', async () => {
    const [one] = await over(1);
    for (const { shown } of await over(4)) {
      expect([...shown!.indices]).toEqual([...one!.shown!.indices]);
      expect(shown).toMatchObject({ pictureCount: dataset.valid.length, correctCount: one!.shown!.correctCount });
      shown!.probabilities.forEach((p, i) => expect(p).toBeCloseTo(one!.shown!.probabilities[i]!, 3));
    }
  });

  it('agrees on BatchNorm’s running statistics where each rank has its own', async () => {
    const [a, b] = await trainOver(2, smallConfig(join(folder.path, 'data'), { recipe: findRecipe('from-scratch'), epochs: 1 }));
    expect(largestDifference(a!.weights, b!.weights)).toBe(0);
  });

  it('stops after the same step on all ranks when one of them is told to', async () => {
    const stop = new AbortController();
    stop.abort();
    const ranks = await trainOver(3, config(), [new AbortController().signal, stop.signal]);
    for (const { result } of ranks) expect(result).toMatchObject({ reason: 'interrupted', position: { step: 1 } });
  });
});
