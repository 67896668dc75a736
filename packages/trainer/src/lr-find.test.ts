import { describe, expect, it } from 'vitest';
import { type RatePoint, suggestRates } from './lr-find.js';

/** A curve of 40 steps from 1e-6 to 1, given as the smoothed loss over the step's index. */
const curve = (smoothed: (index: number) => number): RatePoint[] => Array.from({ length: 40 }, (_, i) => ({ learningRate: 10 ** ((i / 39) * 6 - 6), loss: smoothed(i), smoothed: smoothed(i) }));
const rateAt = (index: number) => 10 ** ((index / 39) * 6 - 6);

/** Flat, then falling to its lowest at step 30, steepest at step 25, then rising. */
const usual = (i: number) => (i < 20 ? 1 : i <= 25 ? 1 - 0.01 * (i - 20) ** 2 : i <= 30 ? 0.75 - 0.02 * (i - 25) : 0.65 + 0.1 * (i - 30));

describe('the rates that a range test suggests', () => {
  it('are the one where the loss falls steepest, and a tenth of the one where it is lowest', () => {
    const { steepest, tenthOfLowest } = suggestRates(curve(usual));
    expect(steepest).toBeCloseTo(rateAt(25), 12);
    expect(tenthOfLowest).toBeCloseTo(rateAt(30) / 10, 12);
  });

  it('come from no noise of the first steps, whose means are of few', () => {
    expect(suggestRates(curve((i) => (i === 0 ? 2 : usual(i)))).steepest).toBeCloseTo(rateAt(25), 12);
  });

  it('pass over what is no number', () => {
    expect(suggestRates(curve((i) => (i > 33 ? Number.NaN : usual(i))))).toEqual(suggestRates(curve(usual)));
  });

  it('are none where the loss only rises, and where there is no point', () => {
    expect(suggestRates(curve((i) => i)).steepest).toBeNull();
    expect(suggestRates([])).toEqual({ steepest: null, tenthOfLowest: null });
  });
});
