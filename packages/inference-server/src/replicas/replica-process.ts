import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request as httpRequest } from 'node:http';
import { fileURLToPath } from 'node:url';
import { UserError } from '@chameleon/core';
import type { MetricSnapshot } from '../metrics.js';
import type { Rollback } from '../models/repository.js';
import type { Answers, FromReplica, ReplicaSetup, ToReplica } from './messages.js';

/** A request as the front has read it. */
export interface WholeRequest {
  method: string;
  /** Path and query. */
  url: string;
  headers: OutgoingHttpHeaders;
  body: Buffer;
}

export interface WholeAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export interface ReplicaProcessOptions {
  setup: ReplicaSetup;
  environment: Record<string, string>;
  onRollback: (rollback: Rollback) => void;
  /** It has ended, though nobody asked it to. */
  onLost: (reason: string) => void;
}

/** ms that a replica has to say that it lives, or to tell its figures. */
const ASK_MS = 2_000, STOP_MS = 5_000;

/** A replica as the front sees it: a process, its socket, and what it computes at the moment. */
export class ReplicaProcess {
  /** Requests that it has not answered yet. */
  outstanding = 0;
  /** Its figures when it was last asked. */
  lastMetrics: MetricSnapshot = [];
  #isReady = false;
  #ended = false;
  #stopping = false;
  #nextId = 1;
  readonly #asked = new Map<number, (value: Answers[keyof Answers]) => void>();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity });

  private constructor(private readonly child: ChildProcess, private readonly options: ReplicaProcessOptions) {
    child.on('message', (message: FromReplica) => this.#hear(message));
    child.on('exit', (code, signal) => this.#end(signal ?? `code ${code}`));
    child.on('error', (error) => this.#end(error.message));
  }

  /** Starts a process and waits until its models are loaded and warm. @throws UserError that says why they can't be */
  static async start(options: ReplicaProcessOptions, signal: AbortSignal): Promise<ReplicaProcess> {
    signal.throwIfAborted();
    // A process can't run TypeScript: from source, as in tests, it is the built module, without the flags that make Node look for sources.
    const isSource = import.meta.url.endsWith('.ts');
    const module = fileURLToPath(new URL(isSource ? '../../dist/replicas/replica.js' : './replica.js', import.meta.url));
    const child = fork(module, [], { env: { ...process.env, ...options.environment }, stdio: ['ignore', 2, 2, 'ipc'], ...(isSource ? { execArgv: [] } : {}) });
    const replica = new ReplicaProcess(child, options);
    try {
      child.send({ kind: 'start', setup: options.setup } satisfies ToReplica);
      await replica.#started(signal);
      return replica;
    } catch (error) {
      await replica.stop(0);
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get index(): number {
    return this.options.setup.index;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Hands a request on. Rejects when the replica is lost before it has answered, or the signal is aborted. */
  async forward({ method, url, headers, body }: WholeRequest, signal: AbortSignal): Promise<WholeAnswer> {
    this.outstanding++;
    try {
      return await new Promise<WholeAnswer>((resolve, reject) => {
        const sent = httpRequest({ socketPath: this.options.setup.socketPath, agent: this.#agent, method, path: url, headers: { ...headers, 'content-length': body.length }, signal }, (answer) => {
          const parts: Buffer[] = [];
          answer.on('data', (part: Buffer) => parts.push(part)).on('error', reject).on('end', () => {
            if (answer.complete) resolve({ status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(parts) });
            else reject(new Error('the answer was cut off'));
          });
        });
        sent.on('error', reject);
        sent.end(body);
      });
    } finally {
      this.outstanding--;
    }
  }

  /** What the replica says, or null when it says nothing in time. */
  async ask<What extends keyof Answers>(what: What, timeoutMs = ASK_MS): Promise<Answers[What] | null> {
    const id = this.#nextId++;
    const answer = await new Promise<Answers[keyof Answers] | null>((resolve) => {
      const timer = setTimeout(() => resolve(null), timeoutMs);
      this.#asked.set(id, (value) => {
        clearTimeout(timer);
        resolve(value);
      });
      if (!this.#tell({ kind: 'ask', id, what })) resolve(null);
    });
    this.#asked.delete(id);
    return answer as Answers[What] | null;
  }

  rollBack(rollback: Rollback): void {
    this.#tell({ kind: 'roll-back', rollback });
  }

  /** Ends it as a crash would: `onLost` is called. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  async stop(graceMs = STOP_MS): Promise<void> {
    this.#stopping = true;
    if (!this.#ended) {
      const exited = once(this.child, 'exit');
      this.#tell({ kind: 'stop' });
      const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
      await exited;
      clearTimeout(timer);
    }
    this.#agent.destroy();
  }

  #tell(message: ToReplica): boolean {
    if (this.#ended || !this.child.connected) return false;
    this.child.send(message, () => undefined);
    return true;
  }

  #started(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      this.child.once('exit', (code, by) => reject(new Error(`a replica ended with ${by ?? `code ${code}`} before it was ready`)));
      this.child.once('error', reject);
      this.child.on('message', (message: FromReplica) => {
        if (message.kind === 'refused') reject(new UserError(message.message, message.exitCode === undefined ? {} : { exitCode: message.exitCode as 1 | 2 }));
        if (message.kind === 'ready') {
          signal.removeEventListener('abort', onAbort);
          this.#isReady = true;
          resolve();
        }
      });
    });
  }

  #hear(message: FromReplica): void {
    if (message.kind === 'answer') this.#asked.get(message.id)?.(message.value);
    if (message.kind === 'rolled-back') this.options.onRollback(message.rollback);
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#agent.destroy();
    if (this.#isReady && !this.#stopping) this.options.onLost(reason);
  }
}
