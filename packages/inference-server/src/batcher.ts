/**
 * Which pictures are computed together, and when: a state machine without clocks, timers or tensors. A request reserves its places
 * before its pictures are decoded (what the queue can't take costs no decoding), each picture then arrives when it is decoded, and
 * `take` gives the next batch, or the time at which to ask again.
 *
 * - The bound counts pictures, from when they are taken in until they are answered: it bounds the time that one may wait. At the bound, a key that holds less than the heaviest one pushes out that key's
 *   newest request ("longest queue drop", McKenney 1991); else the newcomer is refused.
 * - Keys take turns within a batch, so a key that sends much delays itself, not the others.
 * - The delay adapts: an idle engine waits for more only while the next picture is expected sooner than sharing a batch would save.
 *   Both figures are measured: the gap between arrivals, and the part of a batch's time that doesn't depend on its size.
 */
export interface BatcherOptions {
  /** Pictures a batch. */
  maxBatch: number;
  /** Pictures that are being decoded, wait or are being computed. */
  maxQueue: number;
  /** The longest that a picture waits for company while the engine is idle. */
  maxDelayMs: number;
}

export type JobId = number;
export type Admission = { admitted: true; jobs: JobId[]; evicted: JobId[] } | { admitted: false; expectedWaitMs: number };
export type Take =
  | { kind: 'batch'; jobs: JobId[]; expired: JobId[] }
  | { kind: 'wait'; untilMs: number; expired: JobId[] }
  | { kind: 'idle'; expired: JobId[] };

interface Job { id: JobId; request: number; key: string; deadlineMs: number; arrivedMs: number | null }

export class Batcher {
  readonly #jobs = new Map<JobId, Job>();
  /** The decoded pictures of each key, in order of arrival; keys in the order of their turns. */
  readonly #waiting = new Map<string, Job[]>();
  readonly #cost = new BatchCost();
  #gapMs = Infinity;
  #lastArrivalMs = -Infinity;
  /** Pictures of the batch under way. */
  #computing = 0;
  #nextId = 1;
  #nextRequest = 1;

  constructor(readonly options: BatcherOptions) {}

  /** Pictures that are being decoded or wait. */
  get length(): number {
    return this.#jobs.size;
  }

  /** Of `maxQueue` places, those that are taken. */
  get taken(): number {
    return this.length + this.#computing;
  }

  /** Reserves places for a request's pictures, all or none. Those of `evicted` have lost theirs. */
  admit(count: number, key: string, deadlineMs: number): Admission {
    const pushed = this.#toPushOut(count, key);
    if (pushed === null) return { admitted: false, expectedWaitMs: this.expectedWaitMs() };
    for (const job of pushed) this.cancel(job.id);
    const evicted = pushed.map((job) => job.id);
    const request = this.#nextRequest++;
    const jobs = Array.from({ length: count }, () => this.#nextId++);
    for (const id of jobs) this.#jobs.set(id, { id, request, key, deadlineMs, arrivedMs: null });
    return { admitted: true, jobs, evicted };
  }

  /** Whether `admit` would take a request of this many pictures. */
  couldAdmit(count: number, key: string): boolean {
    return this.#toPushOut(count, key) !== null;
  }

  /** Says that a picture is decoded. False when it has lost its place meanwhile. */
  arrive(id: JobId, nowMs: number): boolean {
    const job = this.#jobs.get(id);
    if (!job) return false;
    job.arrivedMs = nowMs;
    const queue = this.#waiting.get(job.key);
    if (queue) queue.push(job);
    else this.#waiting.set(job.key, [job]);
    const gap = nowMs - this.#lastArrivalMs;
    if (Number.isFinite(gap)) this.#gapMs = Number.isFinite(this.#gapMs) ? 0.8 * this.#gapMs + 0.2 * gap : gap;
    this.#lastArrivalMs = nowMs;
    return true;
  }

  /** Gives a picture's place back: its client has gone, or it couldn't be decoded. */
  cancel(id: JobId): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    this.#jobs.delete(id);
    const queue = this.#waiting.get(job.key);
    const index = queue?.indexOf(job) ?? -1;
    if (index >= 0) queue!.splice(index, 1);
    if (queue?.length === 0) this.#waiting.delete(job.key);
  }

  /** The next batch, unless the engine computes one already. Pictures whose deadline has passed leave as `expired`. */
  take(nowMs: number): Take {
    const expired = this.#expire(nowMs);
    const ready = this.#readyCount();
    if (this.#computing > 0 || ready === 0) return { kind: 'idle', expired };
    const untilMs = this.#waitUntil(ready, nowMs);
    if (untilMs > nowMs) return { kind: 'wait', untilMs, expired };
    const jobs = this.#takeTurns(Math.min(ready, this.options.maxBatch));
    this.#computing = jobs.length;
    return { kind: 'batch', jobs, expired };
  }

  /** Says that the batch is done, or lost (`computeMs` null). */
  finish(batchSize: number, computeMs: number | null): void {
    this.#computing = 0;
    if (computeMs !== null) this.#cost.observe(batchSize, computeMs);
  }

  /** How long a picture that comes now is expected to wait. */
  expectedWaitMs(): number {
    const batches = Math.ceil(this.length / this.options.maxBatch) + (this.#computing > 0 ? 1 : 0);
    return batches * this.#cost.of(Math.min(this.options.maxBatch, Math.max(1, this.length)));
  }

  /** The pictures to push out so that `count` more fit; null when the newcomer has to go. */
  #toPushOut(count: number, key: string): Job[] | null {
    const excess = this.taken + count - this.options.maxQueue;
    if (count > this.options.maxQueue) return null;
    if (excess <= 0) return [];
    const held = new Map<string, number>();
    for (const job of this.#jobs.values()) held.set(job.key, (held.get(job.key) ?? 0) + 1);
    const newcomer = (held.get(key) ?? 0) + count;
    const pushed: Job[] = [];
    for (const request of this.#requestsNewestFirst()) {
      if (pushed.length >= excess) break;
      const owner = request[0]!.key;
      const rest = held.get(owner)! - request.length;
      if (owner === key || held.get(owner) !== Math.max(...held.values()) || rest < newcomer) continue;
      held.set(owner, rest);
      pushed.push(...request);
    }
    return pushed.length < excess ? null : pushed;
  }

  #requestsNewestFirst(): Job[][] {
    const requests = new Map<number, Job[]>();
    for (const job of this.#jobs.values()) {
      const jobs = requests.get(job.request);
      if (jobs) jobs.push(job);
      else requests.set(job.request, [job]);
    }
    return [...requests].sort(([a], [b]) => b - a).map(([, jobs]) => jobs);
  }

  #expire(nowMs: number): JobId[] {
    const expired = [...this.#jobs.values()].filter((job) => job.arrivedMs !== null && job.deadlineMs <= nowMs);
    for (const job of expired) this.cancel(job.id);
    return expired.map((job) => job.id);
  }

  #readyCount(): number {
    let count = 0;
    for (const queue of this.#waiting.values()) count += queue.length;
    return count;
  }

  /** Each picture that waits pays the gap; the one that comes saves the fixed part of a batch. */
  #waitUntil(ready: number, nowMs: number): number {
    const gap = Math.max(this.#gapMs, nowMs - this.#lastArrivalMs);
    if (ready >= this.options.maxBatch || ready * gap >= this.#cost.fixedMs) return nowMs;
    let oldest = Infinity, soonest = Infinity;
    for (const queue of this.#waiting.values()) {
      for (const { arrivedMs, deadlineMs } of queue) [oldest, soonest] = [Math.min(oldest, arrivedMs!), Math.min(soonest, deadlineMs)];
    }
    return Math.min(oldest + this.options.maxDelayMs, this.#lastArrivalMs + this.#cost.fixedMs / ready, soonest - this.#cost.of(ready));
  }

  /** One picture of each key, round after round; the key that was served last comes last the next time. */
  #takeTurns(count: number): JobId[] {
    const taken: JobId[] = [];
    while (taken.length < count) {
      const [key, queue] = this.#waiting.entries().next().value!;
      const job = queue.shift()!;
      this.#waiting.delete(key);
      if (queue.length > 0) this.#waiting.set(key, queue);
      this.#jobs.delete(job.id);
      taken.push(job.id);
    }
    return taken;
  }
}

/** A batch's time as fixed + perPicture * size: least squares over what was seen, older batches counting less. */
class BatchCost {
  #weight = 0;
  #size = 0;
  #time = 0;
  #sizeSquared = 0;
  #product = 0;

  observe(size: number, ms: number): void {
    const decay = 0.95;
    this.#weight = decay * this.#weight + 1;
    this.#size = decay * this.#size + size;
    this.#time = decay * this.#time + ms;
    this.#sizeSquared = decay * this.#sizeSquared + size * size;
    this.#product = decay * this.#product + size * ms;
  }

  /** ms; 0 until batches of several sizes were seen. */
  get fixedMs(): number {
    if (this.#weight === 0) return 0;
    return Math.max(0, (this.#time - this.#slope() * this.#size) / this.#weight);
  }

  of(size: number): number {
    if (this.#weight === 0) return 0;
    return this.fixedMs + this.#slope() * size;
  }

  #slope(): number {
    const variance = this.#sizeSquared - (this.#size * this.#size) / this.#weight;
    const slope = variance > 1e-9 * this.#sizeSquared ? (this.#product - (this.#size * this.#time) / this.#weight) / variance : this.#time / this.#size;
    return Math.min(Math.max(0, slope), this.#time / this.#size);
  }
}
