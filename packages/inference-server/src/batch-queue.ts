import { Batcher, type BatcherOptions, type JobId } from './batcher.js';
import { Problem } from './problems.js';

/** What a batch gives: [pictures, classes], row by row, and the engine's time for it. */
export interface BatchResult {
  probabilities: Float32Array;
  computeMs: number;
}

export interface PictureResult {
  /** Of each class, in the order of the logits. */
  probabilities: Float32Array;
  queueMs: number;
  computeMs: number;
}

export interface BatchQueueOptions extends BatcherOptions {
  /** Normalised pictures, [size, size, 3] each. */
  compute: (pictures: Float32Array[]) => Promise<BatchResult>;
  onBatch?: (size: number) => void;
}

export interface ReserveOptions {
  /** Whose turn it is: an API key's name, or an address. */
  key: string;
  /** ms from now until an answer is of no use any more. */
  timeoutMs: number;
  /** Aborted when the client has gone. */
  signal: AbortSignal;
}

/** Places in the queue for the pictures of one request. */
export interface Reservation {
  /** Aborted, with the problem as reason, when the places are lost: the client has gone, time is up, or another key needed them. */
  signal: AbortSignal;
  /** Hands in a decoded picture; gives its answer. */
  predict(index: number, pixels: Float32Array): Promise<PictureResult>;
  /** Gives back the places that are not used up. */
  release(): void;
}

interface Waiter { places: AbortController; pixels: Float32Array | null; arrivedMs: number; resolve: (result: PictureResult) => void; reject: (reason: unknown) => void; lost: unknown }

/** The batcher with a clock, timers and an engine around it. */
export class BatchQueue {
  readonly #batcher: Batcher;
  readonly #waiters = new Map<JobId, Waiter>();
  /** Requests that have not given their places back. */
  readonly #reservations = new Set<AbortController>();
  #onUnused: () => void = ignore;
  #timer: NodeJS.Timeout | undefined;
  #pumping = false;

  constructor(private readonly options: BatchQueueOptions) {
    this.#batcher = new Batcher(options);
  }

  get length(): number {
    return this.#batcher.length;
  }

  /** Null while there is a place for one picture more of this key; else what its request is to be told, before it has sent any. */
  refusal(key: string): Problem | null {
    return this.#batcher.couldAdmit(1, key) ? null : this.#full(1, this.#batcher.expectedWaitMs());
  }

  /** @throws {Problem} 429 when the queue is full */
  reserve(count: number, { key, timeoutMs, signal }: ReserveOptions): Reservation {
    const admission = this.#batcher.admit(count, key, performance.now() + timeoutMs);
    if (!admission.admitted) throw this.#full(count, admission.expectedWaitMs);
    this.#lose(admission.evicted, () => this.#full(1, this.#batcher.expectedWaitMs()));
    const { jobs } = admission;
    const places = new AbortController();
    this.#reservations.add(places);
    for (const id of jobs) this.#waiters.set(id, { places, pixels: null, arrivedMs: 0, resolve: ignore, reject: ignore, lost: null });
    const hangUp = () => this.#lose(jobs, () => new Problem('client-closed', 'The client has gone.'));
    const deadline = setTimeout(() => {
      this.#lose(jobs, () => this.#tooLate(timeoutMs));
    }, timeoutMs);
    const release = () => {
      clearTimeout(deadline);
      signal.removeEventListener('abort', hangUp);
      for (const id of jobs) {
        this.#batcher.cancel(id);
        this.#waiters.delete(id);
      }
      places.abort(new Problem('client-closed', 'The request has given its places back.'));
      this.#reservations.delete(places);
      if (this.#reservations.size === 0) this.#onUnused();
    };
    signal.addEventListener('abort', hangUp, { once: true });
    if (signal.aborted) hangUp();
    return { signal: places.signal, predict: (index, pixels) => this.#predict(jobs[index]!, pixels), release };
  }

  /** Until every request that has places has given them back, or the signal aborts. Who calls this lets no others in. */
  async whenUnused(signal: AbortSignal): Promise<void> {
    if (this.#reservations.size === 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#onUnused = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Refuses everything that waits. What is being computed ends by itself. */
  close(reason: Problem): void {
    clearTimeout(this.#timer);
    this.#lose([...this.#waiters.keys()], () => reason);
  }

  #predict(id: JobId, pixels: Float32Array): Promise<PictureResult> {
    return new Promise((resolve, reject) => {
      const waiter = this.#waiters.get(id);
      if (!waiter || waiter.lost !== null) {
        reject((waiter?.lost ?? new Problem('client-closed', 'The request has given its place back.')) as Error);
        return;
      }
      Object.assign(waiter, { pixels, arrivedMs: performance.now(), resolve, reject });
      this.#batcher.arrive(id, waiter.arrivedMs);
      this.#pumpSoon();
    });
  }

  /** Pictures that arrive in one turn of the event loop, as those of one request do, are seen together. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  /** Begins a batch when it is time for one. */
  #pump(): void {
    clearTimeout(this.#timer);
    const nowMs = performance.now();
    const taken = this.#batcher.take(nowMs);
    this.#lose(taken.expired, () => this.#tooLate(null));
    if (taken.kind === 'wait') this.#timer = setTimeout(() => this.#pump(), Math.max(0, taken.untilMs - nowMs));
    if (taken.kind === 'batch') void this.#run(taken.jobs, nowMs);
  }

  async #run(jobs: JobId[], startedMs: number): Promise<void> {
    const waiters = jobs.map((id) => this.#waiters.get(id)!);
    for (const id of jobs) this.#waiters.delete(id);
    this.options.onBatch?.(jobs.length);
    let computeMs: number | null = null;
    try {
      const result = await this.options.compute(waiters.map((waiter) => waiter.pixels!));
      computeMs = result.computeMs;
      const classCount = result.probabilities.length / jobs.length;
      waiters.forEach((waiter, row) => {
        waiter.resolve({ probabilities: result.probabilities.subarray(row * classCount, (row + 1) * classCount), queueMs: startedMs - waiter.arrivedMs, computeMs: result.computeMs });
      });
    } catch (error) {
      for (const waiter of waiters) waiter.reject(error);
    } finally {
      this.#batcher.finish(jobs.length, computeMs);
      this.#pump();
    }
  }

  /** Ends jobs that have not begun. One that is still being decoded learns of it when it arrives. */
  #lose(jobs: readonly JobId[], reason: () => Problem): void {
    for (const id of jobs) {
      const waiter = this.#waiters.get(id);
      if (!waiter) continue;
      this.#batcher.cancel(id);
      waiter.lost = reason();
      waiter.reject(waiter.lost);
      waiter.places.abort(waiter.lost);
    }
  }

  #full(count: number, expectedWaitMs: number): Problem {
    const { maxQueue } = this.options;
    const detail = count > maxQueue
      ? `The request brings ${count} pictures; the queue has places for ${maxQueue}. Send fewer in one request.`
      : `${this.#batcher.taken} of ${maxQueue} places are taken; the wait would be about ${Math.ceil(expectedWaitMs)} ms. Send it again later.`;
    return new Problem('queue-full', detail, { retryAfterSeconds: secondsAtLeastOne(expectedWaitMs) });
  }

  #tooLate(timeoutMs: number | null): Problem {
    const limit = timeoutMs === null ? 'its limit' : `the limit of ${timeoutMs} ms`;
    return new Problem('queue-timeout', `The request was not computed within ${limit}.`, { retryAfterSeconds: secondsAtLeastOne(this.#batcher.expectedWaitMs()) });
  }
}

const ignore = () => undefined;
const secondsAtLeastOne = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));
