import { describe, expect, it } from 'vitest';
import { busySeconds, findStraggler } from './straggler.js';

const times = (worker: string, seconds: Record<string, number>) => ({ worker, seconds: { data: 0.01, forward: 0.1, backward: 0.2, optimizer: 0.01, exchange: 0.05, ...seconds } });

describe('the straggler', () => {
  it('is named with the phase that it loses its time in', () => {
    expect(findStraggler([times('a', {}), times('slow', { data: 0.5 }), times('b', {})])).toMatch(/^slow: 2\.5 times the others' work, most of it in data \(\+0\.490 s/);
  });

  it('is not who waits for it', () => {
    expect(findStraggler([times('waits', { exchange: 3 }), times('also', { exchange: 3 }), times('slow', { backward: 3, exchange: 0 })])).toMatch(/^slow: .* in backward/);
    expect(busySeconds(times('waits', { exchange: 3 }))).toBeCloseTo(0.32);
  });

  it('is nobody where all are alike, alone, or before the first steps', () => {
    expect(findStraggler([times('a', {}), times('b', { forward: 0.12 })])).toBe('');
    expect(findStraggler([times('a', {})])).toBe('');
    expect(findStraggler([{ worker: 'a', seconds: {} }, { worker: 'b', seconds: {} }])).toBe('');
  });
});
