import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { type ModelCard, type ServedPrecision, UserError } from '@chameleon/core';
import type { BatchResult } from '../batch-queue.js';
import { Problem } from '../problems.js';
import { startWorker } from '../worker-file.js';
import type { ComputeReply, ComputeRequest, ComputeSetup, HeatMap } from './messages.js';
import { waitShortly } from './short-waits.js';

export interface Explanation {
  probabilities: Float32Array;
  classIndex: number;
  heat: HeatMap;
  computeMs: number;
}

export interface ComputeThreadOptions extends ComputeSetup {
  /** ms; a computation that takes longer is given up, and its thread ended. */
  computeTimeoutMs: number;
  /** The thread has ended though nobody asked it to. */
  onLost?: (reason: string) => void;
}

type Work = { kind: 'predict'; pictures: Float32Array[] } | { kind: 'explain'; picture: Float32Array; classIndex: number | null };
type Answer = Extract<ComputeReply, { kind: 'predicted' | 'explained' }>;
interface Pending { resolve: (answer: Answer) => void; reject: (reason: Error) => void; timer: NodeJS.Timeout }

/** A model on a thread of its own, so that the server's clock never waits for a batch. */
export class ComputeThread {
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #state: 'running' | 'stopping' | 'ended' = 'running';

  private constructor(private readonly worker: Worker, readonly card: ModelCard, readonly precision: ServedPrecision, private readonly options: ComputeThreadOptions) {
    worker.on('message', (reply: ComputeReply) => this.#settle(reply));
    worker.on('error', (error) => this.#end(error.message));
    worker.on('exit', (code) => this.#end(`it ended with code ${code}`));
  }

  /**
   * Loads and warms a model.
   * @throws UserError that says why it can't be loaded
   */
  static async start(options: ComputeThreadOptions, signal?: AbortSignal): Promise<ComputeThread> {
    waitShortly();
    const { engine, folder, precision, threads, warmUpSizes } = options;
    const worker = startWorker('compute/worker.js', { engine, folder, precision, threads, warmUpSizes } satisfies ComputeSetup);
    try {
      const reply = await firstReply(worker, signal);
      if (reply.kind === 'ready') return new ComputeThread(worker, reply.card, reply.precision, options);
      throw new UserError(reply.kind === 'refused' ? reply.message : `The compute thread said ${reply.kind} before it was ready.`);
    } catch (error) {
      await worker.terminate();
      throw error;
    }
  }

  /** Normalised pictures, [size, size, 3] each; in shared memory they travel without a copy. */
  async predict(pictures: Float32Array[]): Promise<BatchResult> {
    const answer = await this.#ask({ kind: 'predict', pictures });
    return answer as Extract<Answer, { kind: 'predicted' }>;
  }

  /** Grad-CAM of one picture; `classIndex` null explains the most probable class. */
  async explain(picture: Float32Array, classIndex: number | null): Promise<Explanation> {
    const answer = await this.#ask({ kind: 'explain', picture, classIndex });
    return answer as Extract<Answer, { kind: 'explained' }>;
  }

  /** Ends the thread and gives its memory back; what it computes at the moment is still answered within `graceMs`. */
  async stop(graceMs = 1_000): Promise<void> {
    if (this.#state === 'ended') return;
    this.#state = 'stopping';
    const exited = new Promise<void>((resolve) => this.worker.once('exit', () => resolve()));
    this.worker.postMessage({ kind: 'stop' } satisfies ComputeRequest);
    const timer = setTimeout(() => void this.worker.terminate(), graceMs);
    await exited;
    clearTimeout(timer);
  }

  #ask(work: Work): Promise<Answer> {
    if (this.#state !== 'running') return Promise.reject(new Problem('compute-failed', 'The model\'s thread has ended. Send it again.', { retryAfterSeconds: 1 }));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const { computeTimeoutMs } = this.options;
      const timer = setTimeout(() => {
        this.#end(`a computation took more than ${computeTimeoutMs} ms`);
        void this.worker.terminate();
      }, computeTimeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.worker.postMessage({ ...work, id } satisfies ComputeRequest);
    });
  }

  #settle(reply: ComputeReply): void {
    if (reply.kind === 'ready' || reply.kind === 'refused') return;
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    this.#pending.delete(reply.id);
    clearTimeout(pending.timer);
    if (reply.kind === 'failed') pending.reject(new Error(`the compute thread failed: ${reply.message}`));
    else pending.resolve(reply);
  }

  #end(reason: string): void {
    if (this.#state === 'ended') return;
    const wanted = this.#state === 'stopping';
    this.#state = 'ended';
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Problem('compute-failed', 'The computation was lost with its thread. Send it again.', { retryAfterSeconds: 1, cause: new Error(reason) }));
    }
    this.#pending.clear();
    if (!wanted) this.options.onLost?.(reason);
  }
}

async function firstReply(worker: Worker, signal?: AbortSignal): Promise<ComputeReply> {
  const heard = new AbortController();
  const options = { signal: signal ? AbortSignal.any([signal, heard.signal]) : heard.signal };
  const message = once(worker, 'message', options).then(([reply]) => reply as ComputeReply);
  const exit = once(worker, 'exit', options).then(([code]) => Promise.reject(new Error(`the compute thread ended with code ${code} before it was ready`)));
  try {
    return await Promise.race([message, exit]);
  } finally {
    heard.abort();
    await Promise.allSettled([message, exit]);
  }
}
