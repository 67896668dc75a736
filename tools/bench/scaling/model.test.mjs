import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allReduceMs, efficiency, stepTime } from './model.mjs';

const step = { forwardMs: 10, backwardMs: 20, optimizerMs: 2, buckets: [{ bytes: 1000, readyMs: 5 }, { bytes: 4000, readyMs: 12 }, { bytes: 1000, readyMs: 20 }] };
const at = (bandwidth, latencyMs = 0, hostMsPerByte = 0) => ({ bandwidth, latencyMs, hostMsPerByte });

describe('an all-reduce', () => {
  it('sends 2(n-1)/n of its bytes, and waits for 2(n-1) messages on a ring', () => {
    expect(allReduceMs(1000, 2, at(100))).toBe(10);
    expect(allReduceMs(1000, 4, at(100))).toBe(15);
    expect(allReduceMs(1000, 4, at(100, 0.5))).toBe(18);
    expect(allReduceMs(1000, 8, at(Infinity, 1), 'tree')).toBe(6);
    expect(allReduceMs(1000, 8, at(Infinity, 1), 'direct')).toBe(2);
  });
});

describe('a step of several workers', () => {
  it('is a step of one where there is one, or where the network takes no time', () => {
    for (const worldSize of [1, 8]) expect(stepTime(step, worldSize, at(worldSize === 1 ? 1 : Infinity)).stepMs).toBe(32);
  });

  it('waits for the last bucket, which nothing hides, and for what the network had not done by then', () => {
    // The first two travel while the way back goes on, the last 1,000 bytes after it.
    expect(stepTime(step, 2, at(1000))).toEqual({ stepMs: 33, exchangeMs: 6, waitMs: 1, hidden: 1 - 1 / 6 });
    // 5 → 15 → 55 → 65: the network is behind from the second bucket on.
    expect(stepTime(step, 2, at(100)).stepMs).toBe(10 + 65 + 2);
  });

  it('is slowed by what the exchange computes on the same core', () => {
    // All of the time that the buckets travel is the processor's: nothing is hidden.
    expect(stepTime(step, 2, at(1000, 0, 1 / 1000)).stepMs).toBeCloseTo(32 + 6);
  });

  it('is never shorter than one worker’s, nor longer than with nothing hidden; and no shorter on a slower network', () => {
    const buckets = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 1e8 }), readyMs: fc.double({ min: 0, max: 20, noNaN: true }) }), { maxLength: 6 }).map((list) => list.sort((a, b) => a.readyMs - b.readyMs));
    fc.assert(fc.property(buckets, fc.integer({ min: 1, max: 1024 }), fc.double({ min: 1, max: 1e7, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (list, worldSize, bandwidth, latencyMs) => {
      const given = { ...step, buckets: list }, { stepMs, exchangeMs } = stepTime(given, worldSize, at(bandwidth, latencyMs));
      expect(stepMs).toBeGreaterThanOrEqual(32 - 1e-9);
      expect(stepMs).toBeLessThanOrEqual((32 + exchangeMs + 2 * (worldSize - 1) * latencyMs) * (1 + 1e-9));
      expect(stepTime(given, worldSize, at(bandwidth / 2, latencyMs)).stepMs).toBeGreaterThanOrEqual(stepMs - 1e-9);
    }));
  });

  it('keeps the share that the step of one is of it', () => expect(efficiency(step, 2, at(1000))).toBeCloseTo(32 / 33));
});
