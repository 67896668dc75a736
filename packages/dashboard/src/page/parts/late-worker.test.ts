import { describe, expect, it } from 'vitest';
import { describeLate, findLateWorker } from './late-worker.js';

const answer = (workers: Record<string, Record<string, number>>) => ({
  startMs: 0, stepMs: 1, count: 2,
  lines: Object.entries(workers).flatMap(([worker, phases]) => Object.entries(phases).map(([phase, seconds]) => ({ labels: { worker, phase }, values: [seconds, null] }))),
});

describe('the late worker', () => {
  it('is the one that the others wait for, with what it is late', () => {
    const late = findLateWorker(answer({ a: { data: 0.01, forward: 0.1, exchange: 0.4 }, b: { data: 0.4, forward: 0.11, exchange: 0 }, c: { data: 0.01, forward: 0.1, exchange: 0.4 } }));
    expect(late).toMatchObject({ worker: 'b', phase: 'data' });
    expect(describeLate(late!)).toBe('b is late: it takes 400 ms a step longer than the others, most of it reading its pictures.');
  });

  it('is nobody where all take as long, or one is alone', () => {
    expect(findLateWorker(answer({ a: { forward: 0.1, exchange: 0.4 }, b: { forward: 0.11, exchange: 0.1 } }))).toBeNull();
    expect(findLateWorker(answer({ a: { forward: 0.1 } }))).toBeNull();
    expect(findLateWorker(answer({}))).toBeNull();
  });
});
