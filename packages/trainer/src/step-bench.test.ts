import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { median } from './median.js';
import { STEP_KINDS, StepBench, peakBytes, resetPeakBytes } from './step-bench.js';
import { startEngine } from './testing/small-run.js';

beforeAll(startEngine);

const task = { architecture: 'resnet16w32', precision: 'float32', batchSize: 2, imageSize: 32 } as const;

describe('the bench of a step', () => {
  it.each(STEP_KINDS)('times each step of %s and its parts, counts its memory, and leaves nothing', async (kind) => {
    const { numTensors } = memory();
    {
      using bench = new StepBench({ ...task, kind });
      resetPeakBytes();
      const seen: number[] = [];
      const { stepMs, phasesMs, loss } = await bench.run(3, (done) => seen.push(done));
      expect(seen).toEqual([1, 2, 3]);
      expect(Number.isFinite(loss)).toBe(true);
      for (const times of Object.values(phasesMs)) expect(times).toHaveLength(3);
      for (const [i, ms] of stepMs.entries()) {
        const parts = Object.values(phasesMs).reduce((sum, times) => sum + times[i]!, 0);
        expect(parts).toBeGreaterThan(0);
        expect(parts).toBeLessThanOrEqual(ms);
      }
      // The pictures alone are so many.
      expect(peakBytes()).toBeGreaterThan(4 * 2 * 32 * 32 * 3);
    }
    expect(memory().numTensors).toBe(numTensors);
  });

  it('keeps less where less learns', async () => {
    const peakOf = async (kind: (typeof STEP_KINDS)[number]) => {
      using bench = new StepBench({ ...task, kind, batchSize: 8 });
      await bench.run(1);
      resetPeakBytes();
      await bench.run(1);
      return peakBytes()!;
    };
    expect(await peakOf('eval')).toBeLessThan((await peakOf('full')) / 2);
  });

  it('stops between two steps when it is told to', async () => {
    using bench = new StepBench({ ...task, kind: 'eval' });
    const stop = new AbortController();
    await expect(bench.run(5, () => stop.abort(new Error('enough')), stop.signal)).rejects.toThrow('enough');
  });
});

describe('the median', () => {
  it('is the middle, or the mean of the middle two', () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5]);
    expect(() => median([])).toThrow(RangeError);
  });
});
