import { describe, expect, it } from 'vitest';
import { counted, decimal, duration, moment, percent, rate, signed } from './format.js';

describe('numbers on the page', () => {
  it.each([
    [percent(0.95774), '95.8 %'],
    [percent(NaN), '–'],
    [decimal(0.1), '0.1000'],
    [decimal(1.5e30), '1.50e+30'],
    [decimal(Infinity), '–'],
    [signed(0.02346), '+0.0235'],
    [signed(-0.0041), '−0.0041'],
    [signed(-0.00001), '+0.0000'],
    [counted(1, 'picture'), '1 picture'],
    [counted(15_900, 'picture'), '15,900 pictures'],
    [rate(0.001), '0.001'],
    [rate(1e-5), '1e-5'],
    [rate(0.000_123_4), '1.23e-4'],
    [rate(0), '0'],
    [duration(12.34), '12.3 s'],
    [duration(59.97), '1 min 00 s'],
    [duration(247), '4 min 07 s'],
    [duration(3599.7), '1 h 00 min'],
    [duration(7500), '2 h 05 min'],
    [moment('2026-11-24T17:26:11.123Z'), '24 Nov 2026, 17:26:11 UTC'],
    [moment(''), '–'],
  ])('%s', (shown, expected) => {
    expect(shown).toBe(expected);
  });
});
