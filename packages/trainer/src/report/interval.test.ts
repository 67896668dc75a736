import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { meanInterval, pairedDifference, wilsonInterval } from './interval.js';

/** Right answers of each seed of PyTorch's rows, of 142 and 153 pictures, and the table's mean ± half width. */
const tables: [number, number[], string][] = [
  [142, [136, 131, 134], '0.9413 ± 0.0440'],
  [142, [137, 137, 137], '0.9648 ± 0.0000'],
  [142, [137, 132, 137], '0.9531 ± 0.0505'],
  [142, [136, 131, 137], '0.9484 ± 0.0562'],
  [142, [136, 138, 137], '0.9648 ± 0.0175'],
  [142, [134, 132, 132], '0.9343 ± 0.0202'],
  [153, [144, 142, 143, 145, 148], '0.9438 ± 0.0187'],
  [153, [147, 146, 145, 145, 147], '0.9542 ± 0.0081'],
  [153, [126, 117, 125, 120, 114], '0.7869 ± 0.0416'],
];

describe('the interval of a mean', () => {
  it.each(tables)('of %i pictures and %j right is %s', (pictures, right, expected) => {
    const { mean, halfWidth } = meanInterval(right.map((n) => n / pictures));
    expect(`${mean.toFixed(4)} ± ${halfWidth.toFixed(4)}`).toBe(expected);
  });

  it('is wider at a higher level', () => {
    expect(meanInterval([1, 2, 3], 0.99).halfWidth).toBeCloseTo(9.924843 / Math.sqrt(3), 5);
    expect(meanInterval([1, 2, 3], 0.95).halfWidth).toBeCloseTo(4.302653 / Math.sqrt(3), 5);
  });

  it('of one value has no width and says so', () => {
    expect(meanInterval([0.9])).toEqual({ mean: 0.9, halfWidth: 0, low: 0.9, high: 0.9, count: 1, single: true });
  });

  it('of no value is refused', () => {
    expect(() => meanInterval([])).toThrow(RangeError);
  });

  it('moves with the values and grows with their scale', () => {
    const value = fc.double({ min: -1, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { minLength: 2, maxLength: 20 }), value, (values, shift) => {
        const plain = meanInterval(values);
        const moved = meanInterval(values.map((v) => 2 * v + shift));
        expect(moved.mean).toBeCloseTo(2 * plain.mean + shift, 9);
        expect(moved.halfWidth).toBeCloseTo(2 * plain.halfWidth, 6);
      }),
    );
  });
});

describe('a paired difference', () => {
  it('is the interval of the differences, not the difference of the intervals', () => {
    const before = [0.6, 0.7, 0.8];
    const difference = pairedDifference([0.61, 0.72, 0.81], before)!;
    expect(difference.mean).toBeCloseTo(0.04 / 3, 12);
    expect(difference.halfWidth).toBeCloseTo((4.302653 * 0.01) / 3, 6);
    expect(difference.low).toBeLessThan(0);
  });

  it('counts the seeds that both sides have', () => {
    expect(pairedDifference([0.5, 0.6], [0.4])).toMatchObject({ count: 1, single: true });
    expect(pairedDifference([], [0.4])).toBeNull();
  });
});

describe("Wilson's interval", () => {
  // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
  it.each([
    [81, 263, '0.2553', '0.3662'],
    [15, 148, '0.0624', '0.1605'],
    [0, 20, '0.0000', '0.1611'],
    [1, 29, '0.0061', '0.1718'],
  ])('of %i in %i is the published one', (successCount, count, low, high) => {
    const interval = wilsonInterval(successCount, count);
    expect([interval.low.toFixed(4), interval.high.toFixed(4)]).toEqual([low, high]);
  });

  it('of nothing is everything', () => {
    expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  });

  it('holds the proportion and stays within 0 and 1', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (count, part) => {
        const successCount = Math.round(part * count);
        const { low, high } = wilsonInterval(successCount, count);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(low).toBeLessThanOrEqual(successCount / count + 1e-12);
        expect(high).toBeGreaterThanOrEqual(successCount / count - 1e-12);
      }),
    );
  });
});
