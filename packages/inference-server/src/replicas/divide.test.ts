import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { divide, gpuOf } from './divide.js';

describe('the shares of replicas', () => {
  test('sum to the whole, differ by one at most, and are never nothing', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 512 }), fc.integer({ min: 1, max: 64 }), (total, count) => {
      const shares = divide(total, count);
      expect(shares).toHaveLength(count);
      expect(Math.min(...shares)).toBeGreaterThanOrEqual(1);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      if (total >= count) expect(shares.reduce((sum, share) => sum + share, 0)).toBe(total);
    }));
  });

  test.each([
    [0, undefined, 0, {}],
    [1, undefined, 2, { CUDA_VISIBLE_DEVICES: '1' }],
    [2, undefined, 2, { CUDA_VISIBLE_DEVICES: '0' }],
    [1, '4, 6', 8, { CUDA_VISIBLE_DEVICES: '6' }],
    [0, '', 8, {}],
  ])('replica %i, of the GPUs %j of %i, gets %j', (index, visible, installed, expected) => {
    expect(gpuOf(index, visible, installed)).toEqual(expected);
  });
});
