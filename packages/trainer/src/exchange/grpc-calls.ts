import { MessageChannel, type MessagePort, Worker, receiveMessageOnPort } from 'node:worker_threads';
import { ExchangeAborted } from './aborted.js';
import type { PartyOptions } from './grpc-party.js';
import type { ThreadAnswer, ThreadRequest, ThreadSetup } from './grpc-thread.js';
import type { CallKind } from './reducer.js';

/** How often a blocked thread asks whether what it waits for is still wanted. */
const ASK_MS = 10;

interface Waiting { resolve: (bytes: Uint8Array) => void; reject: (error: Error) => void }

/** The exchange's thread as the thread that computes holds it. After one call has failed, all that follow do. */
export class GrpcCalls {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #answered = new Int32Array(new SharedArrayBuffer(4));
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #over: Error | null = null;
  /** Resolves when all ranks are there and their first sum is right. */
  readonly met: Promise<unknown>;

  constructor({ rank, worldSize, meeting, timeoutMs }: PartyOptions) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: ThreadSetup = { options: { rank, worldSize, meeting, timeoutMs }, port: port2, answered: this.#answered };
    // A thread can't run TypeScript: under a test runner that reads the sources it is what was built of them.
    const file = import.meta.url.endsWith('.ts') ? '../../dist/exchange/grpc-thread.js' : './grpc-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData, transferList: [port2], name: 'exchange', execArgv: [] });
    this.met = new Promise((resolve, reject) => this.#waiting.set(-1, { resolve, reject }));
    this.#worker.on('error', (error) => this.fail(new ExchangeAborted(`The exchange broke: ${error.message}`, { cause: error })));
    port1.on('message', (answer: ThreadAnswer) => this.#take(answer));
  }

  make(kind: CallKind, bytes: Uint8Array, root = 0): Promise<Uint8Array> {
    return this.#ask((id) => ({ do: 'call', id, kind, root, bytes }));
  }

  /** The same, and blocks this thread until the answer is there. */
  makeNow(kind: CallKind, bytes: Uint8Array, isGivenUp: () => boolean): Uint8Array {
    let result: { bytes: Uint8Array } | { error: Error } | null = null;
    // An answer that is taken below is told before `makeNow` goes on: promises would tell it later.
    const waiting: Waiting = { resolve: (come) => (result = { bytes: come }), reject: (error) => (result = { error }) };
    this.#request(waiting, (id) => ({ do: 'call', id, kind, root: 0, bytes }));
    const outcome = () => result as { bytes: Uint8Array } | { error: Error } | null;
    while (outcome() === null) {
      const seen = Atomics.load(this.#answered, 0);
      for (let come = receiveMessageOnPort(this.#port); come !== undefined; come = receiveMessageOnPort(this.#port)) this.#take(come.message as ThreadAnswer);
      if (outcome() !== null) break;
      Atomics.wait(this.#answered, 0, seen, ASK_MS);
      if (isGivenUp()) this.fail(new ExchangeAborted('The exchange was given up.'));
    }
    const told = outcome()!;
    if ('error' in told) throw told.error;
    return told.bytes;
  }

  /** Every call that waits, and every one to come, rejects with this. */
  fail(error: Error): void {
    if (this.#over) return;
    this.#tell({ do: 'abort', reason: error.message });
    this.#end(error);
  }

  /** Lets go of all connections. */
  async leave(): Promise<void> {
    await this.#ask((id) => ({ do: 'leave', id })).catch(() => undefined);
    if (!this.#over) this.#end(new ExchangeAborted('The exchange is closed.'));
  }

  #ask(request: (id: number) => ThreadRequest): Promise<Uint8Array> {
    return new Promise((resolve, reject) => this.#request({ resolve, reject }, request));
  }

  #request(waiting: Waiting, request: (id: number) => ThreadRequest): void {
    if (this.#over) return waiting.reject(this.#over);
    const id = this.#next++;
    this.#waiting.set(id, waiting);
    this.#tell(request(id));
  }

  #tell(request: ThreadRequest): void {
    this.#port.postMessage(request);
  }

  #take({ id, bytes, error }: ThreadAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === null) return waiting?.resolve(bytes);
    const told = new ExchangeAborted(error);
    waiting?.reject(told);
    this.fail(told);
  }

  /** The thread ends by itself; this process need not wait for that. */
  #end(error: Error): void {
    this.#over = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#port.unref();
    this.#worker.unref();
  }
}
