import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGES, type View, formatView, momentsOf, parseView } from './view.js';

const pair = fc.tuple(fc.nat(1e6), fc.integer({ min: 1, max: 1e6 })).map(([from, more]) => [from, from + more] as const);
const view: fc.Arbitrary<View> = fc.record({
  page: fc.constantFrom(...PAGES), run: fc.option(fc.string({ minLength: 1 })), model: fc.option(fc.string({ minLength: 1 })), runs: fc.array(fc.string({ minLength: 1 }), { maxLength: 5 }), axis: fc.constantFrom('step', 'epoch', 'time'),
  span: fc.oneof(fc.constantFrom(5, 15, 60, 777).map((minutes) => ({ kind: 'last' as const, minutes })), pair.map(([startMs, endMs]) => ({ kind: 'fixed' as const, startMs, endMs }))),
  zoom: fc.option(pair),
});

describe('the view', () => {
  it('comes back out of its link', () => {
    fc.assert(fc.property(view, (given) => void expect(parseView(formatView(given))).toEqual(given)));
  });

  it('of a link that somebody damaged is a view all the same', () => {
    expect(parseView('?page=admin&axis=up&time=9-3&last=-1&zoom=a-b')).toEqual({ page: 'overview', axis: 'step', run: null, model: null, runs: [], span: { kind: 'last', minutes: 15 }, zoom: null });
    fc.assert(fc.property(fc.string(), (search) => void parseView(search)));
  });
});

describe('the moments of a span', () => {
  it('are at most about six hundred, no closer than scrapes, and stay where they are as time goes on', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 60 * 24 * 30 }), fc.integer({ min: 1e12, max: 2e12 }), fc.constantFrom(1000, 5000, 15_000, 60_000), (minutes, nowMs, intervalMs) => {
      const { startMs, endMs, stepMs } = momentsOf({ kind: 'last', minutes }, nowMs, intervalMs);
      expect((endMs - startMs) / stepMs).toBeLessThanOrEqual(601);
      expect(stepMs).toBeGreaterThanOrEqual(intervalMs);
      expect([startMs % stepMs, endMs % stepMs]).toEqual([0, 0]);
      expect(nowMs - endMs).toBeLessThan(stepMs);
      expect(endMs).toBeGreaterThanOrEqual(startMs);
    }));
  });
});
