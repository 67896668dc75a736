import { join } from 'node:path';
import { findRecipe } from '@chameleon/core';
import { limitMemory, memory } from '@chameleon/tfjs-libtorch';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { StepOutOfMemory, pictureCountThatFits, roundDown } from './batch-that-fits.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { train } from './train.js';

describe('the pictures that fit', () => {
  /** A step whose peak is a line, on a machine with a limit. */
  const machine = (fixed: number, each: number, limit: number) => async (rows: number) => (fixed + each * rows <= limit ? fixed + each * rows : null);

  it('are a round number that was seen to fit, and no less than half of what would', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(1000), fc.integer({ min: 1, max: 50 }), fc.nat(20_000), fc.integer({ min: 2, max: 5000 }), async (fixed, each, limit, failed) => {
      fc.pre(fixed + each * failed > limit);
      const most = Math.floor((limit - fixed) / each), peakOf = machine(fixed, each, limit);
      const found = await pictureCountThatFits(failed, limit, peakOf);
      if (found === null) {
        expect(Math.min(most, failed - 1)).toBeLessThan(2);
        return;
      }
      expect(await peakOf(found)).not.toBeNull();
      expect(roundDown(found)).toBe(found);
      expect(found).toBeLessThan(failed);
      // A tenth of the limit is held back, and the next round number may be half as much again.
      const expected = Math.min(failed - 1, Math.floor((0.9 * limit - fixed) / each));
      expect(found).toBeGreaterThanOrEqual(Math.min(roundDown(expected), most));
    }));
  });

  it('are found without a limit that is known, by trying', async () => {
    expect(await pictureCountThatFits(256, undefined, machine(100, 10, 1000))).toBe(64);
    expect(await pictureCountThatFits(256, undefined, machine(100, 10, 100))).toBeNull();
  });
});

describe('a run whose step runs out of memory', () => {
  beforeAll(startEngine);
  afterEach(() => limitMemory(0));

  it.each([1, 2])('ends with the batch size that fits, and with that it trains (a batch in %i parts)', async (accumulate) => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'), 80);
    const limit = memory().liveBytes + 60 * 2 ** 20;
    const settings = { recipe: findRecipe('from-scratch'), epochs: 1, imageSize: 64, accumulate };
    let runs = 0;
    const run = (batchSize: number, parts = accumulate) => train(smallConfig(join(folder.path, 'data'), { ...settings, batchSize, accumulate: parts }), { out: folder.path, path: join(folder.path, `run-${runs++}`) }, surroundings());
    limitMemory(limit);
    const error = await run(128).then(() => null, (thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StepOutOfMemory);
    const { message } = error as StepOutOfMemory;
    expect(message).toMatch(/^Out of memory in a step of 128 pictures of 64 px(, in 2 parts)?: \w+\(.*\): out of memory: \d+ bytes .* by limitMemory\. \d+ pictures at a time fit, as tried: pass --batch-size \d+, or keep the batch and pass --accumulate \d+\.$/);
    const [batchSize, parts] = [/--batch-size (\d+)/, /--accumulate (\d+)/].map((pattern) => Number(pattern.exec(message)![1])) as [number, number];
    expect(batchSize).toBeGreaterThanOrEqual(8);
    expect((await run(batchSize)).reason).toBe('done');
    expect((await run(128, parts)).reason).toBe('done');
    // It is no needlessly small one: the batch twice as large does not fit.
    await expect(run(2 * batchSize)).rejects.toThrow('Out of memory in a step of');
  });
});
