import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Batcher, type JobId, type Take } from './batcher.js';

const options = { maxBatch: 4, maxQueue: 8, maxDelayMs: 5 };
const FAR = 1e9;

/** Places for a request that have to be there. */
function admit(batcher: Batcher, count: number, key = 'a', deadlineMs = FAR): JobId[] {
  const admission = batcher.admit(count, key, deadlineMs);
  if (!admission.admitted) throw new Error('refused');
  return admission.jobs;
}

function arriveAll(batcher: Batcher, jobs: readonly JobId[], nowMs: number): void {
  for (const job of jobs) batcher.arrive(job, nowMs);
}

function batchOf(take: Take): JobId[] {
  if (take.kind !== 'batch') throw new Error(`there is no batch but ${take.kind}`);
  return take.jobs;
}

/** Teaches a batcher what batches cost: fixed + each * size ms. */
function teach(batcher: Batcher, fixedMs: number, eachMs: number): void {
  for (const size of [1, 2, 4, 1, 2, 4]) batcher.finish(size, fixedMs + eachMs * size);
}

describe('a batch', () => {
  test('begins at once while nothing is known of the load', () => {
    const batcher = new Batcher(options);
    const [job] = admit(batcher, 1);
    batcher.arrive(job!, 10);
    expect(batcher.take(10)).toEqual({ kind: 'batch', jobs: [job], expired: [] });
  });

  test('takes no picture that is still being decoded', () => {
    const batcher = new Batcher(options);
    const [first, second] = admit(batcher, 2);
    batcher.arrive(second!, 0);
    expect(batchOf(batcher.take(0))).toEqual([second]);
    expect(batcher.length).toBe(1);
    batcher.arrive(first!, 1);
    expect(batcher.take(1).kind).toBe('idle');
    batcher.finish(1, 3);
    expect(batchOf(batcher.take(2))).toEqual([first]);
  });

  test('collects what came while the engine computed', () => {
    const batcher = new Batcher(options);
    arriveAll(batcher, admit(batcher, 1), 0);
    batcher.take(0);
    const later = admit(batcher, 3);
    arriveAll(batcher, later, 1);
    expect(batcher.take(1).kind).toBe('idle');
    batcher.finish(1, 10);
    expect(batchOf(batcher.take(10))).toEqual(later);
  });

  test('waits for company where pictures come sooner than sharing saves, and never longer than the bound', () => {
    const batcher = new Batcher(options);
    teach(batcher, 10, 1);
    arriveAll(batcher, admit(batcher, 1), 0);
    arriveAll(batcher, admit(batcher, 1), 2);
    expect(batcher.take(2)).toMatchObject({ kind: 'wait', untilMs: 5 });
    expect(batchOf(batcher.take(5))).toHaveLength(2);
  });

  test('waits for nobody where pictures come seldom', () => {
    const batcher = new Batcher(options);
    teach(batcher, 10, 1);
    arriveAll(batcher, admit(batcher, 1), 0);
    batcher.take(0);
    batcher.finish(1, 11);
    arriveAll(batcher, admit(batcher, 1), 500);
    expect(batcher.take(500).kind).toBe('batch');
  });

  test('waits for nobody where batches cost what their pictures cost', () => {
    const batcher = new Batcher(options);
    teach(batcher, 0, 5);
    arriveAll(batcher, admit(batcher, 1), 0);
    arriveAll(batcher, admit(batcher, 1), 0.1);
    expect(batcher.take(0.1).kind).toBe('batch');
  });

  test('is not waited for when it is full', () => {
    const batcher = new Batcher(options);
    teach(batcher, 10, 1);
    arriveAll(batcher, admit(batcher, 4), 0);
    expect(batchOf(batcher.take(0))).toHaveLength(4);
  });

  test('gives each key its turn, however much another one sends', () => {
    const batcher = new Batcher(options);
    const greedy = admit(batcher, 6, 'greedy'), modest = admit(batcher, 2, 'modest');
    arriveAll(batcher, greedy, 0);
    arriveAll(batcher, modest, 1);
    expect(batchOf(batcher.take(1))).toEqual([greedy[0], modest[0], greedy[1], modest[1]]);
  });
});

describe('the bound of the queue', () => {
  test('refuses a key that has filled it, with the expected wait', () => {
    const batcher = new Batcher(options);
    teach(batcher, 0, 5);
    admit(batcher, 8);
    const refusal = batcher.admit(1, 'a', FAR);
    expect(refusal).toMatchObject({ admitted: false });
    expect(!refusal.admitted && refusal.expectedWaitMs).toBeCloseTo(40);
  });

  test('counts pictures, not requests, and admits a request whole or not at all', () => {
    const batcher = new Batcher(options);
    admit(batcher, 6);
    expect(batcher.admit(3, 'a', FAR).admitted).toBe(false);
    expect(batcher.length).toBe(6);
    expect(batcher.admit(9, 'b', FAR).admitted).toBe(false);
  });

  test('pushes out the newest request of the key that holds most, for one that holds little', () => {
    const batcher = new Batcher(options);
    const old = admit(batcher, 4, 'greedy'), young = admit(batcher, 4, 'greedy');
    const admission = batcher.admit(2, 'modest', FAR);
    expect(admission).toMatchObject({ admitted: true, evicted: young });
    expect(batcher.arrive(young[0]!, 0)).toBe(false);
    expect(batcher.arrive(old[0]!, 0)).toBe(true);
    expect(batcher.length).toBe(6);
  });

  test('a cancelled picture frees its place', () => {
    const batcher = new Batcher(options);
    const jobs = admit(batcher, 8);
    arriveAll(batcher, jobs, 0);
    batcher.cancel(jobs[3]!);
    batcher.cancel(jobs[3]!);
    expect(batcher.length).toBe(7);
    expect(batcher.admit(1, 'a', FAR).admitted).toBe(true);
    expect(batchOf(batcher.take(0))).toEqual([jobs[0], jobs[1], jobs[2], jobs[4]]);
  });
});

test('a picture whose deadline has passed is not computed', () => {
  const batcher = new Batcher(options);
  const late = admit(batcher, 1, 'a', 10), inTime = admit(batcher, 1, 'a', 30);
  arriveAll(batcher, [...late, ...inTime], 0);
  expect(batcher.take(20)).toEqual({ kind: 'batch', jobs: inTime, expired: late });
});

type Step = { kind: 'admit'; count: number; key: string; patienceMs: number } | { kind: 'arrive' | 'cancel'; pick: number } | { kind: 'tick'; ms: number } | { kind: 'finish' };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('admit' as const), count: fc.integer({ min: 1, max: 10 }), key: fc.constantFrom('a', 'b', 'c'), patienceMs: fc.integer({ min: 1, max: 100 }) }),
  fc.record({ kind: fc.constantFrom('arrive' as const, 'cancel' as const), pick: fc.nat() }),
  fc.record({ kind: fc.constant('tick' as const), ms: fc.integer({ min: 0, max: 20 }) }),
  fc.record({ kind: fc.constant('finish' as const) }),
);

test('under any order of events the bounds hold, and every picture leaves exactly once', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const batcher = new Batcher(options);
    const present = new Map<JobId, { arrived: boolean; deadlineMs: number }>();
    let nowMs = 0, computing = 0;
    const leave = (ids: readonly JobId[]) => ids.forEach((id) => expect(present.delete(id)).toBe(true));
    const take = () => {
      const taken = batcher.take(nowMs);
      for (const id of taken.expired) expect(present.get(id)!.deadlineMs).toBeLessThanOrEqual(nowMs);
      leave(taken.expired);
      if (taken.kind === 'wait') expect(taken.untilMs).toBeGreaterThan(nowMs);
      if (taken.kind !== 'batch') return;
      expect(computing).toBe(0);
      expect(taken.jobs.length).toBeGreaterThan(0);
      expect(taken.jobs.length).toBeLessThanOrEqual(options.maxBatch);
      for (const id of taken.jobs) expect(present.get(id)).toMatchObject({ arrived: true });
      leave(taken.jobs);
      computing = taken.jobs.length;
    };
    for (const event of steps) {
      const ids = [...present.keys()];
      if (event.kind === 'admit') {
        const admission = batcher.admit(event.count, event.key, nowMs + event.patienceMs);
        if (admission.admitted) {
          leave(admission.evicted);
          for (const id of admission.jobs) present.set(id, { arrived: false, deadlineMs: nowMs + event.patienceMs });
        }
      } else if (event.kind === 'tick') nowMs += event.ms;
      else if (event.kind === 'finish') {
        if (computing > 0) batcher.finish(computing, 3 + computing);
        computing = 0;
      } else if (ids.length > 0) {
        const id = ids[event.pick % ids.length]!;
        if (event.kind === 'arrive' && !present.get(id)!.arrived) {
          expect(batcher.arrive(id, nowMs)).toBe(true);
          present.get(id)!.arrived = true;
        } else if (event.kind === 'cancel') {
          batcher.cancel(id);
          present.delete(id);
        }
      }
      take();
      expect(batcher.length).toBe(present.size);
      expect(batcher.length).toBeLessThanOrEqual(options.maxQueue);
    }
    // When all have arrived and nobody comes any more, everything leaves within a bounded number of batches.
    for (const [id, job] of present) {
      if (job.arrived) continue;
      batcher.arrive(id, nowMs);
      job.arrived = true;
    }
    for (let round = 0; round < 2 * options.maxQueue; round++) {
      if (computing > 0) batcher.finish(computing, 3 + computing);
      computing = 0;
      nowMs += options.maxDelayMs;
      take();
    }
    expect(present.size).toBe(0);
  }), { numRuns: 300 });
});
