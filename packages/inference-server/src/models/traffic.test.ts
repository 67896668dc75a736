import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_CANARY_BOUNDS, type Labels, type Tally, chooseVersion, judgeCanary } from './traffic.js';

const labels = (trafficShare: number, shadow = false): Labels => ({ stable: '1', canary: { version: '2', trafficShare, shadow } });

describe('the version for a request', () => {
  test.each([
    ['stable where there is no canary', { stable: '1', canary: null }, undefined, 0, '1'],
    ['the canary below its share', labels(0.1), undefined, 0.09, '2'],
    ['stable above it', labels(0.1), undefined, 0.1, '1'],
    ['stable where the canary is a shadow', labels(1, true), undefined, 0, '1'],
    ['what was asked for by name', labels(0), '7', 0.5, '7'],
    ['what was asked for by label', labels(0), 'canary', 0.5, '2'],
    ['stable by label', labels(1), 'stable', 0, '1'],
    ['none where the label stands nowhere', { stable: '1', canary: null }, 'canary', 0, null],
  ] as const)('is %s', (_name, given, wanted, draw, chosen) => {
    expect(chooseVersion(given as Labels, wanted, draw)).toBe(chosen);
  });

  test('follows the share over many draws', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (share) => {
      const draws = Array.from({ length: 1000 }, (_, i) => chooseVersion(labels(share), undefined, i / 1000));
      expect(draws.filter((version) => version === '2').length / 1000).toBeCloseTo(share, 2);
    }));
  });
});

describe('a canary', () => {
  const tally = (requests: number, errors: number, classes: Record<string, number>): Tally => ({ requests, errors, classes: new Map(Object.entries(classes)) });
  const bounds = DEFAULT_CANARY_BOUNDS;

  test.each([
    ['stays while too little was seen', tally(1000, 0, { a: 500, b: 500 }), tally(10, 5, { b: 5 }), null],
    ['stays where it answers as the stable version does', tally(1000, 1, { a: 500, b: 500 }), tally(200, 0, { a: 104, b: 96 }), null],
    ['goes when it fails more often', tally(1000, 0, { a: 500, b: 500 }), tally(40, 10, { a: 15, b: 15 }), /^25.0 % of its requests failed/],
    ['stays where both fail alike', tally(1000, 100, { a: 450, b: 450 }), tally(200, 20, { a: 90, b: 90 }), null],
    ['goes when a class\'s share departs', tally(1000, 0, { a: 500, b: 500 }), tally(200, 0, { a: 180, b: 20 }), /it calls 90.0 % of the pictures a, the stable version 50.0 %/],
    ['goes when a class never comes any more', tally(1000, 0, { a: 500, b: 500 }), tally(200, 0, { a: 200 }), /100.0 %/],
  ])('%s', (_name, stable, canary, verdict) => {
    const reason = judgeCanary(stable, canary, bounds);
    if (verdict === null) expect(reason).toBeNull();
    else expect(reason).toMatch(verdict);
  });

  test('that draws its answers from the same distribution is taken back in fewer than one of a hundred cases', () => {
    let takenBack = 0;
    for (let trial = 0; trial < 400; trial++) {
      const share = (seed: number) => fc.sample(fc.integer({ min: 0, max: 9 }), { seed: seed + 1, numRuns: 120 }).filter((value) => value < 5).length;
      const [a, b] = [share(2 * trial), share(2 * trial + 1)];
      if (judgeCanary(tally(120, 0, { a, b: 120 - a }), tally(120, 0, { a: b, b: 120 - b }), bounds) !== null) takenBack++;
    }
    expect(takenBack).toBeLessThan(4);
  });
});
