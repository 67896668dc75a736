import { describe, expect, it } from 'vitest';
import { type Unit, formatAgo, formatBytes, formatSeconds, formatValue } from './format.js';

describe('a value', () => {
  it.each([
    [null, 'ratio', 'none'], [Number.NaN, 'number', 'not a number'], [Number.POSITIVE_INFINITY, 'seconds', 'infinite'], [0.98765, 'ratio', '98.77\u00a0%'], [1, 'ratio', '100.0\u00a0%'],
    [0.00001, 'learning-rate', '1.0e-5'], [0.02, 'learning-rate', '0.02'], [0, 'learning-rate', '0'], [1234.5, 'count', '1,234.5'], [71.234, 'celsius', '71.2 °C'], [0.123456, 'number', '0.1235'], [12.345, 'images', '12.3 images/s'],
  ] as [number | null, Unit, string][])('%d as %s is %s', (value, unit, text) => expect(formatValue(value, unit)).toBe(text));
});

it.each([[0, '0 s'], [0.0000123, '12.3 µs'], [0.0423, '42.3 ms'], [5.5, '5.5 s'], [75, '1 min 15 s'], [-75, '-1 min 15 s'], [3725, '1 h 2 min'], [90_000, '1 d 1 h']])('%d s is %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
it.each([[0, '0 B'], [1023, '1,020 B'], [1536, '1.5 KiB'], [3 * 2 ** 30, '3 GiB']])('%d bytes is %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
it('a clock that is ahead is told of', () => {
  expect([formatAgo(1000, 1200), formatAgo(1000, 62_000), formatAgo(20_000, 1000)]).toEqual(['just now', '1 min 1 s ago', '19 s ahead of this clock']);
});
