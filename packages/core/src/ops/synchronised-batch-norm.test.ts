import { type Tensor, addN, memory, slice, tensor, tidy } from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { randomStream } from '../random.js';
import { TEST_BACKENDS, useBackend } from '../testing/engine.js';
import { batchNormBackward, batchNormTraining } from './batch-norm.js';
import type { Precision } from './kernels.js';
import { toPrecision } from './precision.js';
import { type AcrossRanks, synchronisedBackward, synchronisedTraining } from './synchronised-batch-norm.js';

const OPTIONS = { momentum: 0.1, epsilon: 1e-5 };
const CHANNELS = 3;
const NEEDS = { input: true, parameters: true };

/** [rows, …places, channels] around a level of its own a channel, far from 0 against their spread. */
function values(rows: number, places: number[], level: number): Tensor {
  const random = randomStream('rows', rows, level);
  return tensor(Float32Array.from({ length: rows * places.reduce((a, b) => a * b, 1) * CHANNELS }, (_, i) => level * ((i % CHANNELS) - 1) + random.normal()), [rows, ...places, CHANNELS]);
}

/** Ranks in one thread: what each brings to a sum is known before anybody is given it, for it hangs on own rows alone. */
function inTurn<T>(shares: readonly number[], call: (across: AcrossRanks, rank: number) => T, drop: (result: T) => void): T[] {
  const brought: Tensor[] = [];
  const across = (rank: number, sum: AcrossRanks['sum']) => ({ rank, worldSize: shares.length, counted: shares[rank]! > 0, sum });
  shares.forEach((_, rank) => drop(call(across(rank, (own) => (brought.push(own.clone()), own)), rank)));
  const results = shares.map((_, rank) => call(across(rank, (own) => {
    own.dispose();
    return addN(brought);
  }), rank));
  for (const one of brought) one.dispose();
  return results;
}

const all = (...tensors: (Tensor | null)[]): number[] => tensors.flatMap((one) => Array.from(one!.dataSync()));
const release = (result: object): void => {
  for (const part of Object.values(result) as (Tensor | object | null)[]) {
    if (part === null) continue;
    if ('dataSync' in part) part.dispose();
    else release(part);
  }
};

/** The largest difference, relative to the largest value. */
function distance(got: readonly number[], expected: readonly number[]): number {
  expect(got).toHaveLength(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...got.map((value, i) => Math.abs(value - expected[i]!))) / scale;
}

describe.each(TEST_BACKENDS)('BatchNorm over ranks on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  afterEach(() => expect(memory().numTensors).toBe(0));

  it.each<[string, number[], number[], number, Precision]>([
    ['equal shares', [3, 3], [4, 2], 1, 'float32'],
    ['uneven shares', [5, 1, 2], [4, 2], 1, 'float32'],
    ['a rank without pictures', [4, 0, 3], [2, 3], 1, 'float32'],
    ['levels far above the spread', [5, 2], [4, 4], 1000, 'float32'],
    ['features', [4, 1], [], 1, 'float32'],
    ...(backend === 'libtorch' ? ([['bfloat16', [5, 1, 2], [4, 2], 1, 'bfloat16']] as [string, number[], number[], number, Precision][]) : []),
  ])('is that of the whole batch: %s', (_, shares, places, level, precision) => {
    const total = shares.reduce((a, b) => a + b), starts = shares.map((_share, rank) => shares.slice(0, rank).reduce((a, b) => a + b, 0));
    const [x, dy] = tidy(() => [toPrecision(values(total, places, level), precision), toPrecision(values(total, places, 0.5), precision)]) as [Tensor, Tensor];
    const tensors = { scale: tensor([0.7, 1.4, -0.9]), shift: tensor([0.1, 0, -0.3]), mean: tensor([0.3, -0.2, 0.1]), variance: tensor([0.5, 1.5, 2]) };
    /** A rank's rows; one without has a row that doesn't count, and no gradient comes to it. */
    const part = (whole: Tensor, rank: number, gradient: boolean) => tidy(() => {
      if (shares[rank]! > 0) return slice(whole, [starts[rank]!, ...whole.shape.slice(1).map(() => 0)], [shares[rank]!, ...whole.shape.slice(1)]);
      return toPrecision(tensor(new Float32Array(whole.size / total).fill(gradient ? 0 : 7), [1, ...whole.shape.slice(1)]), precision);
    });
    const xs = shares.map((_share, rank) => part(x, rank, false)), dys = shares.map((_share, rank) => part(dy, rank, true));

    const whole = batchNormTraining(x, tensors, OPTIONS), back = batchNormBackward(dy, x, tensors, whole.batch, OPTIONS, NEEDS);
    const ranks = inTurn(shares, (across, rank) => synchronisedTraining(xs[rank]!, tensors, OPTIONS, across), release);
    const backs = inTurn(shares, (across, rank) => synchronisedBackward(dys[rank]!, xs[rank]!, tensors, ranks[rank]!.batch, { ...OPTIONS, precision }, NEEDS, across), release);

    const counted = (_rank: unknown, rank: number) => shares[rank]! > 0;
    const exact = precision === 'float32' ? 2e-5 : 1e-2;
    // Where rows stand at 1,000, float32 itself leaves a deviation of 1 no more than this.
    const tolerance = level > 1 ? 2e-3 : exact;
    expect(distance(ranks.filter(counted).flatMap(({ y }) => all(y)), all(whole.y))).toBeLessThan(tolerance);
    expect(distance(backs.filter(counted).flatMap(({ dx }) => all(dx)), all(back.dx))).toBeLessThan(tolerance);
    expect(backs.filter((_back, rank) => shares[rank] === 0).flatMap(({ dx }) => all(dx)).every((value) => value === 0)).toBe(true);
    for (const name of ['dScale', 'dShift'] as const) {
      const sums = all(backs[0]![name]).map((_value, channel) => backs.reduce((sum, one) => sum + all(one[name])[channel]!, 0));
      expect(distance(sums, all(back[name]))).toBeLessThan(tolerance);
    }
    for (const { runningMean, runningVariance } of ranks) {
      expect(distance(all(runningMean), all(whole.runningMean))).toBeLessThan(1e-5);
      expect(distance(all(runningVariance), all(whole.runningVariance))).toBeLessThan(level > 1 ? 1e-3 : 1e-5);
      expect(all(runningMean, runningVariance)).toEqual(all(ranks[0]!.runningMean, ranks[0]!.runningVariance));
    }
    for (const one of [...ranks, ...backs, whole, back, tensors, { x, dy }, { ...xs }, { ...dys }]) release(one);
  });

  it('leaves the running statistics where they were when no rank has a row', () => {
    const tensors = { scale: tensor([1, 1, 1]), shift: tensor([0, 0, 0]), mean: tensor([0.3, -0.2, 0.1]), variance: tensor([0.5, 1.5, 2]) };
    const x = values(1, [2, 2], 1);
    const ranks = inTurn([0, 0], (across) => synchronisedTraining(x, tensors, OPTIONS, across), release);
    for (const { y, runningMean, runningVariance } of ranks) {
      expect(all(runningMean, runningVariance)).toEqual(all(tensors.mean, tensors.variance));
      expect(all(y).every(Number.isFinite)).toBe(true);
    }
    for (const one of [...ranks, tensors, { x }]) release(one);
  });
});
