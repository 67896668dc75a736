import { describe, expect, test } from 'vitest';
import { BatchQueue, type BatchResult } from './batch-queue.js';
import { Problem } from './problems.js';

describe('the queue around an engine', () => {
  /** An engine that computes when it is told to. */
  function heldEngine() {
    const batches: { size: number; finish: () => void; fail: (error: Error) => void }[] = [];
    const compute = (pictures: Float32Array[]) => new Promise<BatchResult>((resolve, reject) => {
      batches.push({ size: pictures.length, finish: () => resolve({ probabilities: Float32Array.from(pictures, ([first]) => first!), computeMs: 1 }), fail: reject });
    });
    return { batches, compute };
  }
  const options = { maxBatch: 4, maxQueue: 4, maxDelayMs: 1 };
  const patience = { key: 'a', timeoutMs: 10_000, signal: new AbortController().signal };
  const pixels = (value: number) => Float32Array.of(value);

  test('gives each picture its own row', async () => {
    const { batches, compute } = heldEngine();
    const queue = new BatchQueue({ ...options, compute });
    const places = queue.reserve(3, patience);
    const results = Promise.all([1, 2, 3].map((value, i) => places.predict(i, pixels(value))));
    await expect.poll(() => batches.map(({ size }) => size)).toEqual([3]);
    batches[0]!.finish();
    expect((await results).map(({ probabilities }) => [...probabilities])).toEqual([[1], [2], [3]]);
  });

  test('is unused once every request has given its places back, or nobody waits for that any longer', async () => {
    const { batches, compute } = heldEngine();
    const queue = new BatchQueue({ ...options, compute }), patient = new AbortController().signal, impatient = new AbortController();
    await queue.whenUnused(patient);
    const places = [queue.reserve(1, patience), queue.reserve(1, patience)];
    let unused = false;
    const waiting = queue.whenUnused(patient).then(() => (unused = true));
    const result = places[0]!.predict(0, pixels(1));
    await expect.poll(() => batches.length).toBe(1);
    batches[0]!.finish();
    await result;
    for (const given of [places[0]!, places[0]!]) given.release();
    await Promise.resolve();
    expect(unused).toBe(false);
    places[1]!.release();
    expect(await waiting).toBe(true);
    const kept = queue.reserve(1, patience), given = queue.whenUnused(impatient.signal);
    impatient.abort();
    await given;
    kept.release();
  });

  test('a client that has gone frees its place and is not computed', async () => {
    const { batches, compute } = heldEngine();
    const queue = new BatchQueue({ ...options, compute });
    const first = queue.reserve(1, patience).predict(0, pixels(1));
    await expect.poll(() => batches.length).toBe(1);
    const gone = new AbortController();
    const lost = queue.reserve(3, { ...patience, signal: gone.signal });
    const waiting = [0, 1].map((i) => lost.predict(i, pixels(9)));
    gone.abort();
    for (const picture of [...waiting, lost.predict(2, pixels(9))]) await expect(picture).rejects.toMatchObject({ code: 'client-closed' });
    expect(queue.length).toBe(0);
    const next = queue.reserve(1, patience).predict(0, pixels(2));
    batches[0]!.finish();
    await first;
    await expect.poll(() => batches.map(({ size }) => size)).toEqual([1, 1]);
    batches[1]!.finish();
    expect([...(await next).probabilities]).toEqual([2]);
  });

  test('a request that waits longer than its limit is refused with 429 while the engine is busy', async () => {
    const { batches, compute } = heldEngine();
    const queue = new BatchQueue({ ...options, compute });
    const first = queue.reserve(1, patience).predict(0, pixels(1));
    await expect.poll(() => batches.length).toBe(1);
    await expect(queue.reserve(1, { ...patience, timeoutMs: 10 }).predict(0, pixels(2))).rejects.toMatchObject({ code: 'queue-timeout', status: 429 });
    expect(queue.length).toBe(0);
    batches[0]!.finish();
    await first;
  });

  test('a lost batch fails its own pictures; the next is computed', async () => {
    const { batches, compute } = heldEngine();
    const queue = new BatchQueue({ ...options, compute });
    const first = queue.reserve(1, patience).predict(0, pixels(1));
    await expect.poll(() => batches.length).toBe(1);
    const second = queue.reserve(1, patience).predict(0, pixels(2));
    batches[0]!.fail(new Problem('compute-failed', 'lost'));
    await expect(first).rejects.toThrow('lost');
    await expect.poll(() => batches.length).toBe(2);
    batches[1]!.finish();
    expect([...(await second).probabilities]).toEqual([2]);
  });
});
