import type { Worker } from 'node:worker_threads';
import { PictureError } from '@chameleon/data';
import { Problem } from '../problems.js';
import { startWorker } from '../worker-file.js';
import type { DecodeReply, DecodeRequest, DecodedPicture } from './messages.js';

export interface DecodePoolOptions {
  threads: number;
  /** ms a picture; one that takes longer is refused, and its thread replaced. */
  timeoutMs: number;
}

interface Task { request: DecodeRequest; signal: AbortSignal; resolve: (picture: DecodedPicture) => void; reject: (reason: unknown) => void }
interface Thread { worker: Worker; state: 'starting' | 'ready'; task: Task | null; timer: NodeJS.Timeout | undefined }

/** ms before a thread that could not even start is followed by another. */
const RESTART_MS = 1_000;

/**
 * Threads that decode and resize, so that a large picture stops neither the server's clock nor the computation. What waits is bounded
 * by the batcher, which gives out a place for each picture before it comes here.
 */
export class DecodePool {
  readonly #threads: Thread[];
  readonly #waiting: Task[] = [];
  #closed = false;

  constructor(private readonly options: DecodePoolOptions) {
    this.#threads = Array.from({ length: options.threads }, () => this.#start());
  }

  /**
   * @throws {PictureError} when it is not a picture that we read
   * @throws {Problem} when it takes too long; and the signal's reason, at once, when it is aborted
   */
  async decode(request: DecodeRequest, signal: AbortSignal): Promise<DecodedPicture> {
    let giveUp = () => undefined as void;
    try {
      return await new Promise((resolve, reject) => {
        giveUp = () => reject(signal.reason as Error);
        signal.addEventListener('abort', giveUp, { once: true });
        this.#waiting.push({ request, signal, resolve, reject });
        if (signal.aborted) giveUp();
        this.#dispatch();
      });
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const task of this.#waiting.splice(0)) task.reject(stopping());
    await Promise.all(this.#threads.map(async (thread) => {
      this.#settle(thread, (task) => task.reject(stopping()));
      await thread.worker.terminate();
    }));
  }

  #start(): Thread {
    const thread: Thread = { worker: startWorker('decode/worker.js'), state: 'starting', task: null, timer: undefined };
    thread.worker.on('message', (reply: DecodeReply) => {
      thread.state = 'ready';
      this.#settle(thread, (task) => deliver(reply, task));
    });
    thread.worker.on('error', (error) => this.#replace(thread, (task) => task.reject(error)));
    thread.worker.on('exit', (code) => this.#replace(thread, (task) => task.reject(new Error(`a decoding thread ended with code ${code}`))));
    return thread;
  }

  #dispatch(): void {
    if (this.#closed) {
      for (const task of this.#waiting.splice(0)) task.reject(stopping());
      return;
    }
    for (const thread of this.#threads) {
      if (thread.state !== 'ready' || thread.task !== null) continue;
      const task = this.#next();
      if (!task) return;
      thread.task = task;
      thread.timer = setTimeout(() => this.#replace(thread, () => task.reject(new Problem('bad-picture', `${task.request.name} took more than ${this.options.timeoutMs} ms to decode. Send it smaller.`))), this.options.timeoutMs);
      thread.worker.postMessage(task.request);
    }
  }

  /** The oldest task that somebody still waits for. */
  #next(): Task | undefined {
    for (let task = this.#waiting.shift(); task; task = this.#waiting.shift()) if (!task.signal.aborted) return task;
    return undefined;
  }

  #settle(thread: Thread, end: (task: Task) => void): void {
    const { task } = thread;
    clearTimeout(thread.timer);
    thread.task = null;
    if (task) end(task);
    this.#dispatch();
  }

  /** A thread that is lost, or has to go, is followed by another: at once, or later where it has not even started. */
  #replace(thread: Thread, end: (task: Task) => void): void {
    const index = this.#threads.indexOf(thread);
    if (index < 0 || this.#closed) return;
    if (thread.state === 'ready') this.#threads[index] = this.#start();
    else {
      this.#threads.splice(index, 1);
      setTimeout(() => this.#closed || this.#threads.push(this.#start()), RESTART_MS).unref();
    }
    void thread.worker.terminate();
    this.#settle(thread, end);
  }
}

function deliver(reply: DecodeReply, { request, resolve, reject }: Task): void {
  switch (reply.kind) {
    case 'ready':
      return;
    case 'decoded':
      resolve(reply.picture);
      return;
    case 'bad':
      reject(new PictureError(request.name, reply.fault, reply.problem));
      return;
    case 'failed':
      reject(new Error(`decoding failed: ${reply.message}`));
      return;
    default:
      reply satisfies never;
  }
}

const stopping = () => new Problem('draining', 'The server is stopping. Send it to another one.');
