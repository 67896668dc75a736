import type { ModelCard, ServedPrecision } from '@chameleon/core';
import type { Logger } from 'pino';
import { type BatchResult, BatchQueue } from '../batch-queue.js';
import type { BatcherOptions } from '../batcher.js';
import { ComputeThread, type ComputeThreadOptions, type Explanation } from '../compute/compute-thread.js';
import { Problem } from '../problems.js';

export interface ServedVersionOptions {
  name: string;
  version: string;
  compute: Omit<ComputeThreadOptions, 'onLost' | 'warmUpSizes'>;
  batcher: BatcherOptions;
  onBatch: (size: number) => void;
  log: Logger;
}

/** ms for what a version has begun to be answered before it is unloaded. */
const DRAIN_MS = 10_000;

/** Threads that may be lost one after the other before the version counts as failed. */
const MAX_LOSSES = 5;

/** One version of a model that is loaded: its queue, and its compute thread, which is replaced when it is lost. */
export class ServedVersion {
  readonly queue: BatchQueue;
  readonly loadedAt = new Date();
  #thread: Promise<ComputeThread>;
  #status: 'ready' | 'restarting' | 'failed' | 'stopped' = 'ready';
  #lossesInARow = 0;
  readonly #stop = new AbortController();

  private constructor(private readonly options: ServedVersionOptions, readonly card: ModelCard, readonly precision: ServedPrecision, thread: ComputeThread) {
    this.#thread = Promise.resolve(thread);
    this.queue = new BatchQueue({ ...options.batcher, compute: (pictures) => this.#predict(pictures), onBatch: options.onBatch });
  }

  /**
   * Loads and warms it.
   * @throws UserError that says why it can't be loaded
   */
  static async open(options: ServedVersionOptions, signal?: AbortSignal): Promise<ServedVersion> {
    let onLost: (reason: string) => void = () => undefined;
    const thread = await ComputeThread.start(threadOptions(options, (reason) => onLost(reason)), signal);
    const served = new ServedVersion(options, thread.card, thread.precision, thread);
    onLost = (reason) => served.#lost(reason);
    return served;
  }

  get name(): string {
    return this.options.name;
  }

  get version(): string {
    return this.options.version;
  }

  get folder(): string {
    return this.options.compute.folder;
  }

  get status(): 'ready' | 'restarting' | 'failed' | 'stopped' {
    return this.#status;
  }

  /** Grad-CAM of one picture. */
  async explain(picture: Float32Array, classIndex: number | null): Promise<Explanation> {
    return this.#withThread((thread) => thread.explain(picture, classIndex));
  }

  /** Until what was begun is answered, within a deadline or until the signal aborts. Nobody may ask it any more. */
  drain(signal: AbortSignal): Promise<void> {
    return this.queue.whenUnused(AbortSignal.any([signal, AbortSignal.timeout(DRAIN_MS)]));
  }

  /** Refuses what waits, ends the thread and gives its memory back. */
  async stop(reason: Problem): Promise<void> {
    if (this.#status === 'stopped') return;
    this.#status = 'stopped';
    this.#stop.abort(reason);
    this.queue.close(reason);
    const thread = await this.#thread.catch(() => null);
    await thread?.stop();
  }

  #predict(pictures: Float32Array[]): Promise<BatchResult> {
    return this.#withThread((thread) => thread.predict(pictures));
  }

  /** Work that was lost with its thread is done once more by the next one. */
  async #withThread<Result>(work: (thread: ComputeThread) => Promise<Result>): Promise<Result> {
    try {
      return this.#succeeded(await work(await this.#thread));
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'compute-failed' || this.#status === 'stopped') throw error;
      return this.#succeeded(await work(await this.#thread));
    }
  }

  #succeeded<Result>(result: Result): Result {
    this.#lossesInARow = 0;
    return result;
  }

  #lost(reason: string): void {
    if (this.#status === 'stopped') return;
    this.options.log.error({ model: this.name, version: this.version, reason }, 'a compute thread was lost');
    this.#lossesInARow++;
    this.#status = 'restarting';
    this.#thread = this.#replace();
    this.#thread.catch((error: unknown) => {
      if (this.#status !== 'stopped') this.#status = 'failed';
      this.options.log.error({ model: this.name, version: this.version, err: error }, 'the version can not be computed any more');
    });
  }

  async #replace(): Promise<ComputeThread> {
    if (this.#lossesInARow > MAX_LOSSES) throw new Problem('compute-failed', `${this.name}, version ${this.version}, lost its thread ${this.#lossesInARow} times in a row.`);
    try {
      const thread = await ComputeThread.start(threadOptions(this.options, (reason) => this.#lost(reason)), this.#stop.signal);
      this.#status = 'ready';
      return thread;
    } catch (error) {
      throw new Problem('compute-failed', `${this.name}, version ${this.version}, can not be loaded again.`, { cause: error });
    }
  }
}

const threadOptions = ({ compute, batcher }: ServedVersionOptions, onLost: (reason: string) => void): ComputeThreadOptions => ({ ...compute, warmUpSizes: [...new Set([1, batcher.maxBatch])], onLost });
