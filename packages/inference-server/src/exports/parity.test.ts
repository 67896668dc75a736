import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareAnswers } from './parity.js';

const rows = (...values: number[]) => Float32Array.from(values);

describe('the comparison of an export', () => {
  test('finds equal what differs by less than the tolerance, and nothing else', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.float({ min: 0, max: 1, noNaN: true }), fc.float({ min: Math.fround(-0.01), max: Math.fround(0.01), noNaN: true })), { minLength: 1, maxLength: 20 }), (pairs) => {
      const ours = rows(...pairs.flatMap(([p]) => [p, 1 - p])), theirs = rows(...pairs.flatMap(([p, d]) => [p + d, 1 - p - d]));
      const parity = compareAnswers(ours, theirs, 2, 0.005);
      expect(parity.equal).toBe(parity.largestDifference <= 0.005);
      expect(parity.largestDifference).toBeLessThanOrEqual(0.0101);
    }));
  });

  test('counts another class as agreement only where the tolerance can not tell them apart', () => {
    expect(compareAnswers(rows(0.5001, 0.4999), rows(0.4999, 0.5001), 2, 0.001)).toMatchObject({ top1Agreement: 1, equal: true });
    expect(compareAnswers(rows(0.6, 0.4, 0.9, 0.1), rows(0.4, 0.6, 0.9, 0.1), 2, 0.001)).toMatchObject({ top1Agreement: 0.5, equal: false });
  });

  test('takes no NaN, and no comparison of nothing', () => {
    expect(compareAnswers(rows(0.5, 0.5), rows(NaN, 0.5), 2, 0.001)).toMatchObject({ largestDifference: Infinity, equal: false });
    expect(compareAnswers(rows(), rows(), 2, 0.001)).toMatchObject({ pictures: 0, equal: false });
    expect(() => compareAnswers(rows(1, 0), rows(1), 2, 0.001)).toThrow('were given for');
  });
});
