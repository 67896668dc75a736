import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { UserError } from '@chameleon/core';
import type { Progress } from '../membership/membership.js';
import type { ComputeReply, ComputeRequest, ComputeSetup } from './messages.js';

export interface ComputeListener {
  onReply: (reply: Exclude<ComputeReply, { kind: 'ready' | 'refused' }>) => void;
  /** The thread has ended though nobody asked it to. */
  onLost: (reason: string) => void;
}

/** How long a thread may take to end by itself, and then to be ended. */
const CLOSE_MS = 5_000, TERMINATE_MS = 3_000;

/** The thread that computes, as the network thread holds it. */
export class ComputeThread {
  #closing = false;

  private constructor(private readonly worker: Worker, readonly progress: Progress) {}

  /** Starts the thread and its engine. @throws UserError that says why it can't */
  static async start(setup: ComputeSetup, listener: ComputeListener): Promise<ComputeThread> {
    // A thread can't run TypeScript: under a test runner that reads the sources it is what was built of them.
    const isSource = import.meta.url.endsWith('.ts');
    const worker = new Worker(new URL(isSource ? '../../dist/worker/compute.js' : './compute.js', import.meta.url), { workerData: setup, name: 'compute', execArgv: [] });
    const progress = await new Promise<Progress>((resolve, reject) => {
      worker.once('message', (reply: ComputeReply) => (reply.kind === 'ready' ? resolve(reply.progress) : reject(new UserError(reply.kind === 'refused' ? reply.message : `The compute thread said ${reply.kind} before it was ready.`))));
      worker.once('error', reject);
    });
    const thread = new ComputeThread(worker, progress);
    worker.on('message', (reply: ComputeReply) => reply.kind !== 'ready' && reply.kind !== 'refused' && listener.onReply(reply));
    const lost = (reason: string) => !thread.#closing && listener.onLost(reason);
    worker.removeAllListeners('error').on('error', (error) => lost(error.stack ?? error.message));
    worker.on('exit', (code) => lost(`the compute thread ended with code ${code}`));
    return thread;
  }

  send(request: ComputeRequest): void {
    this.worker.postMessage(request);
  }

  /** Whether the thread has ended: one that is blocked in native code hears of nothing. */
  async close(): Promise<boolean> {
    this.#closing = true;
    const over = new AbortController();
    const ended = new Promise<true>((resolve) => this.worker.once('exit', () => resolve(true)));
    const after = (ms: number) => sleep(ms, false as const, { signal: over.signal }).catch(() => true as const);
    try {
      this.send({ kind: 'close' });
      if (await Promise.race([ended, after(CLOSE_MS)])) return true;
      void this.worker.terminate();
      return await Promise.race([ended, after(TERMINATE_MS)]);
    } finally {
      over.abort();
    }
  }
}
