import { Worker } from 'node:worker_threads';
import type { Job, JobReply, JobRequest, JobResult } from './loader-job.js';

/** Jobs that a thread holds at a time: one whose files are being decoded while the other's pictures are computed. */
const JOBS_PER_THREAD = 2;
/** How long a thread may take to end by itself. */
const CLOSE_MS = 5_000;

/** A job in the queue or under way. */
interface Ticket {
  id: number;
  job: Job;
  signal: AbortSignal;
  resolve: (result: JobResult) => void;
  reject: (error: unknown) => void;
}

interface Thread {
  worker: Worker;
  tickets: Map<number, Ticket>;
  ended: Promise<void>;
}

/**
 * Threads that run the loader's jobs, first come, first served. They start with the first jobs, keep the process alive
 * only while there is work, and live until `close`. Whoever puts jobs in bounds their number.
 */
export class WorkerPool {
  readonly #size: number;
  readonly #threads: Thread[] = [];
  readonly #queue: Ticket[] = [];
  #nextId = 0;
  #closed: Error | null = null;

  constructor(size: number) {
    this.#size = size;
  }

  /** Jobs that wait or are under way. */
  get pending(): number {
    return this.#queue.length + this.#threads.reduce((sum, thread) => sum + thread.tickets.size, 0);
  }

  /** Runs a job; when the signal is aborted before a thread took it, it isn't run at all. */
  run(job: Job, signal: AbortSignal): Promise<JobResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      this.#queue.push({ id: this.#nextId++, job, signal, resolve, reject });
      this.#dispatch();
    });
  }

  /** Lets what is under way finish, drops what waits, and ends the threads. */
  async close(): Promise<void> {
    this.#closed ??= new Error('The loader is closed.');
    for (const { reject } of this.#queue.splice(0)) reject(this.#closed);
    await Promise.all(this.#threads.map(endThread));
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const ticket = this.#queue[0]!;
      if (ticket.signal.aborted) {
        this.#queue.shift();
        ticket.reject(ticket.signal.reason);
        continue;
      }
      const thread = this.#freeThread();
      if (!thread) return;
      this.#queue.shift();
      if (thread.tickets.size === 0) thread.worker.ref();
      thread.tickets.set(ticket.id, ticket);
      thread.worker.postMessage({ id: ticket.id, job: ticket.job } satisfies JobRequest);
    }
  }

  /** The thread with the fewest jobs, or a new one; null when all have enough. */
  #freeThread(): Thread | null {
    const least = this.#threads.toSorted((a, b) => a.tickets.size - b.tickets.size)[0];
    if (least?.tickets.size === 0) return least;
    if (this.#threads.length < this.#size) return this.#start();
    return least && least.tickets.size < JOBS_PER_THREAD ? least : null;
  }

  #start(): Thread {
    // Under a test runner that reads the sources, the thread still runs what was built of them.
    const script = import.meta.url.endsWith('.ts') ? '../dist/loader-worker.js' : './loader-worker.js';
    const worker = new Worker(new URL(script, import.meta.url), { execArgv: [], name: 'pictures' });
    const thread: Thread = { worker, tickets: new Map(), ended: new Promise((resolve) => worker.once('exit', () => resolve())) };
    worker.on('message', (reply: JobReply) => this.#settle(thread, reply));
    worker.on('error', (error) => this.#fail(thread, error));
    worker.on('exit', (code) => this.#fail(thread, new Error(`A thread that decodes pictures ended with code ${code}.`)));
    this.#threads.push(thread);
    return thread;
  }

  #settle(thread: Thread, reply: JobReply): void {
    const ticket = thread.tickets.get(reply.id)!;
    thread.tickets.delete(reply.id);
    if (thread.tickets.size === 0) thread.worker.unref();
    if ('error' in reply) ticket.reject(reply.error);
    else ticket.resolve(reply.result);
    this.#dispatch();
  }

  /** A thread is gone. Its jobs fail; the next one starts another thread. */
  #fail(thread: Thread, error: Error): void {
    const place = this.#threads.indexOf(thread);
    if (place >= 0) this.#threads.splice(place, 1);
    for (const { reject } of thread.tickets.values()) reject(error);
    thread.tickets.clear();
    if (!this.#closed) this.#dispatch();
  }
}

/** Asks a thread to end once its jobs are done, which leaves no decoder half-way; after a while it is stopped. */
async function endThread({ worker, ended }: Thread): Promise<void> {
  worker.ref();
  worker.postMessage(null);
  const timer = setTimeout(() => void worker.terminate(), CLOSE_MS);
  await ended;
  clearTimeout(timer);
}
