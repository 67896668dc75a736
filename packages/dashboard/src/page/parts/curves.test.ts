import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alignLines, curvesOf, freshnessOf, lastPlace, lonelyPlaces, smooth, toCsv, valueAt } from './curves.js';

describe('curves', () => {
  it('keep every point when lines with places of their own share an axis', () => {
    const own = fc.uniqueArray(fc.nat(100), { minLength: 1, maxLength: 30 }).map((x) => x.sort((a, b) => a - b));
    fc.assert(fc.property(fc.array(own, { minLength: 1, maxLength: 5 }), (axes) => {
      const data = alignLines(axes.map((x, i) => ({ x, line: { name: String(i), values: x.map((value) => value * 2 + i) } })));
      expect([...data.x]).toEqual([...new Set(axes.flat())].sort((a, b) => a - b));
      axes.forEach((x, i) => expect(data.x.filter((_, place) => data.lines[i]!.values[place] !== undefined)).toEqual(x));
    }));
  });

  it('have no gap where only another line has a place, and points where there is no line', () => {
    const { lines } = alignLines([{ x: [1, 3, 5], line: { name: 'a', values: [1, null, 2] } }, { x: [2, 3, 4], line: { name: 'b', values: [1, 2, 3] } }]);
    expect(lines.map(({ values }) => values)).toEqual([[1, undefined, null, undefined, 2], [undefined, 1, 2, 3, undefined]]);
    expect(lines.map(({ values }) => lonelyPlaces(values))).toEqual([[0, 4], []]);
    expect([lonelyPlaces([]), lonelyPlaces([null, 3, null]), lonelyPlaces([3, 4, null, 5])]).toEqual([[], [1], [3]]);
  });

  it('have the value at the cursor, or the last one before it', () => {
    const line = { name: 'a', values: [1, null, 3, null] };
    expect([0, 1, 2, 3].map((place) => valueAt(line, place))).toEqual([1, 1, 3, 3]);
    expect(lastPlace({ x: [1, 2, 3, 4], lines: [line] })).toBe(2);
    expect(lastPlace({ x: [1, 2], lines: [{ name: 'b', values: [null, null] }] })).toBe(-1);
  });

  it('are stale when three scrapes are missing, and not where the span stands still', () => {
    const data = curvesOf({ startMs: 0, stepMs: 1000, count: 5, lines: [{ labels: {}, values: [1, null, null, null, null] }] }, () => 'a');
    const now = { stands: false, endMs: 4000, intervalMs: 1000, stepMs: 1000 };
    expect(freshnessOf(data, now)).toEqual({ kind: 'stale', sinceMs: 0 });
    expect(freshnessOf(data, { ...now, endMs: 3000 })).toEqual({ kind: 'live' });
    expect(freshnessOf(data, { ...now, stands: true })).toEqual({ kind: 'complete' });
    expect(freshnessOf({ x: [1], lines: [] }, now)).toEqual({ kind: 'empty' });
  });

  it('are written as CSV that no spreadsheet computes', () => {
    expect(toCsv({ x: [1, 2], lines: [{ name: '=1+1', values: [0.5, null], low: [0.1, null], high: [0.9, null] }, { name: 'a,"b"', values: [1, 2] }] }, 'step')).toBe('step,\'=1+1,\'=1+1 (least),\'=1+1 (greatest),"a,""b"""\n1,0.5,0.1,0.9,1\n2,,,,2\n');
  });

  it('are smoothed over gaps and what is no number', () => {
    expect(smooth([1, null, 3, Number.NaN, 5], 1)).toEqual([1, null, 3, Number.NaN, 5]);
    expect(smooth([1, null, 3, Number.NaN, 5], 3)).toEqual([1, null, 2, Number.NaN, 3.5]);
  });
});
