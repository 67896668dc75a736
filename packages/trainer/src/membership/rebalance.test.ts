import { randomStream } from '@chameleon/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type MeasuredRank, betterSplit, splitBySpeed, stepSeconds, withReading } from './rebalance.js';
import { evenSplit } from './split.js';

/** Generations of a run whose ranks have these true speeds, measured with an error of up to `noise`; the shares at the end and how often they were revised. */
function follow(truth: readonly number[], batchSize: number, noise: number, seed: number, beats = 600): { split: number[]; revisions: number } {
  const random = randomStream('speeds', seed);
  let split = evenSplit(batchSize, truth.length), revisions = 0;
  let ranks: MeasuredRank[] = truth.map(() => ({ speed: null, readings: 0 }));
  for (let beat = 0; beat < beats; beat++) {
    ranks = ranks.map((rank, i) => withReading(rank, truth[i]! * (1 + noise * (2 * random.uniform() - 1))));
    const better = betterSplit(split, ranks, batchSize, revisions);
    if (better === null) continue;
    split = better;
    revisions++;
    ranks = ranks.map(({ speed }) => ({ speed, readings: 0 }));
  }
  return { split, revisions };
}

describe('shares that follow speed', () => {
  it('come within a tenth of the best that whole pictures allow, or a picture, and then stay', () => {
    const speeds = fc.array(fc.double({ min: 1, max: 8, noNaN: true }), { minLength: 2, maxLength: 6 });
    fc.assert(fc.property(speeds, fc.integer({ min: 8, max: 256 }), fc.integer({ min: 0, max: 1000 }), (truth, batchSize, seed) => {
      const { split, revisions } = follow(truth, batchSize, 0.05, seed);
      expect(split.reduce((a, b) => a + b)).toBe(batchSize);
      const best = stepSeconds(splitBySpeed(batchSize, truth)!, truth);
      expect(stepSeconds(split, truth)).toBeLessThan(1.2 * best);
      // The first revision is by measured speeds; a second one mends what the first readings had wrong.
      expect(revisions).toBeLessThanOrEqual(2);
    }), { numRuns: 25 });
  });

  it('are left alone where ranks are alike, however the readings vary', () => {
    for (let seed = 0; seed < 20; seed++) expect(follow([4, 4, 4], 48, 0.08, seed)).toEqual({ split: [16, 16, 16], revisions: 0 });
  });

  it('are not revised by a single slow step, nor before each rank is measured', () => {
    let slow: MeasuredRank = { speed: 4, readings: 20 };
    expect(betterSplit([8, 8], [slow, { speed: 4, readings: 20 }], 16, 0)).toBeNull();
    slow = withReading(slow, 2.9);
    expect(betterSplit([8, 8], [slow, { speed: 4, readings: 20 }], 16, 0)).toBeNull();
    expect(betterSplit([8, 8], [{ speed: 1, readings: 5 }, { speed: 4, readings: 20 }], 16, 0)).toBeNull();
    expect(betterSplit([8, 8], [{ speed: null, readings: 0 }, { speed: 4, readings: 20 }], 16, 0)).toBeNull();
    expect(betterSplit([8, 8], [{ speed: 1, readings: 6 }, { speed: 4, readings: 20 }], 16, 0)).toEqual([4, 12]);
    // Revised before: it is measured for longer.
    expect(betterSplit([8, 8], [{ speed: 1, readings: 11 }, { speed: 4, readings: 20 }], 16, 1)).toBeNull();
  });

  it('take a rank that is not measured yet for a middling one', () => {
    expect(splitBySpeed(12, [2, null, 4])).toEqual([3, 4, 5]);
    expect(splitBySpeed(12, [null, null])).toBeNull();
  });
});
