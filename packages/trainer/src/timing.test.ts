import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { timingOf } from './timing.js';

describe('the waits of a run', () => {
  it('follow from the detection time, in an order that lets the sooner one tell first', () => {
    fc.assert(fc.property(fc.integer({ min: 200, max: 600_000 }), (detectionMs) => {
      const { heartbeatMs, watchdogMs, abandonMs, pauseMs, exchangeTimeoutMs, orphanMs } = timingOf(detectionMs);
      // Three heartbeats may be lost before a worker is.
      expect(3 * heartbeatMs).toBeLessThan(detectionMs);
      expect(detectionMs).toBeLessThan(watchdogMs);
      // A worker ends itself before the coordinator drops it.
      expect(watchdogMs).toBeLessThan(abandonMs);
      expect(abandonMs).toBeLessThan(exchangeTimeoutMs);
      expect(pauseMs).toBeLessThan(exchangeTimeoutMs);
      expect(orphanMs).toBeGreaterThan(detectionMs);
    }));
  });

  it.each([0, -1, 150, 700_000, Number.NaN])('are not made of a detection time of %d ms', (detectionMs) => {
    expect(() => timingOf(detectionMs)).toThrow(/--detection-time/);
  });
});
