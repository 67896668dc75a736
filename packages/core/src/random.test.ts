import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { permutation, randomStream } from './random.js';

const key = fc.array(fc.oneof(fc.integer(), fc.string({ maxLength: 8 })), { minLength: 1, maxLength: 4 });
const draw = (parts: (number | string)[], count = 8) => {
  const random = randomStream(...parts);
  return Array.from({ length: count }, () => random.uniform());
};

describe('a random stream', () => {
  it('gives the same numbers in every version: runs must be repeatable', () => {
    const random = randomStream(1, 'stable', 7);
    expect([random.uniform(), random.uniform(), random.integer(1000), random.integer(1000), random.normal()]).toMatchInlineSnapshot(`
      [
        0.880933105809821,
        0.5162517157539663,
        537,
        586,
        -0.6729190788096201,
      ]
    `);
    expect([...permutation(10, 'stable')]).toMatchInlineSnapshot(`
      [
        2,
        5,
        4,
        3,
        7,
        1,
        8,
        6,
        0,
        9,
      ]
    `);
  });

  it('depends on its key alone', () => {
    fc.assert(fc.property(key, key, (a, b) => {
      const alone = draw(a);
      const first = randomStream(...a), second = randomStream(...b);
      const mixed = alone.map(() => {
        second.uniform();
        return first.uniform();
      });
      expect(mixed).toEqual(alone);
    }));
  });

  it('differs from that of a key that differs in one part', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 1, max: 1000 }), (seed, other) => {
      expect(draw([seed, 'a', 0])).not.toEqual(draw([seed, 'a', other]));
      expect(draw([seed, 'a'])).not.toEqual(draw([seed, 'b']));
      expect(draw([seed, 1])).not.toEqual(draw([1, seed === 1 ? 2 : seed]));
    }));
  });

  it('is uniform, and normal where that is asked for; neighbouring keys do not hang together', () => {
    const count = 4000, firsts = Array.from({ length: count }, (_, i) => randomStream(3, i).uniform());
    const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const deviation = (values: number[]) => Math.sqrt(mean(values.map((v) => (v - mean(values)) ** 2)));
    expect(mean(firsts)).toBeCloseTo(0.5, 1);
    expect(deviation(firsts)).toBeCloseTo(Math.sqrt(1 / 12), 1);
    expect(Math.abs(mean(firsts.slice(1).map((v, i) => (v - 0.5) * (firsts[i]! - 0.5)))) * 12).toBeLessThan(0.06);
    const random = randomStream('normal'), normals = Array.from({ length: count }, () => random.normal());
    expect(Math.abs(mean(normals))).toBeLessThan(0.06);
    expect(Math.abs(deviation(normals) - 1)).toBeLessThan(0.05);
  });

  it('draws integers of the whole range', () => {
    const random = randomStream('range');
    expect(new Set(Array.from({ length: 400 }, () => random.integer(7)))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
  });
});

describe('a permutation', () => {
  it('has each number once', () => {
    fc.assert(fc.property(fc.nat(300), fc.integer(), (count, seed) => {
      expect([...permutation(count, seed)].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    }));
  });
});
