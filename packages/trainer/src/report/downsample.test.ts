import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Point, downsample } from './downsample.js';

describe('a curve of many steps', () => {
  it('keeps each stretch’s least and greatest, in order', () => {
    const ys = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 3000 });
    fc.assert(
      fc.property(ys, fc.integer({ min: 1, max: 50 }), (values, stretchCount) => {
        const points = values.map((y, x): Point => [x, y]);
        const kept = downsample(points, stretchCount);
        expect(kept.length).toBeLessThanOrEqual(2 * stretchCount);
        expect(Math.min(...kept.map(([, y]) => y))).toBe(Math.min(...values));
        expect(Math.max(...kept.map(([, y]) => y))).toBe(Math.max(...values));
        expect(kept.every(([x, y], i) => values[x] === y && (i === 0 || x > kept[i - 1]![0]))).toBe(true);
      }),
    );
  });

  it('of few points stays as it is', () => {
    expect(downsample([[0, 1], [1, 2]], 1)).toEqual([[0, 1], [1, 2]]);
  });
});
