import { ExchangeAborted } from './aborted.js';
import type { CallHeader, CallKind } from './reducer.js';

interface Waiting { resolve: (bytes: Uint8Array) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }

/** The calls of one rank that have no answer yet. Each is answered in time, or fails with all that follow. */
export class Calls {
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #over: Error | null = null;

  /** @param onOver told once, when calls can't be made any more */
  constructor(readonly timeoutMs: number, readonly send: (header: CallHeader, bytes: Uint8Array) => void, readonly onOver: () => void) {}

  get isOver(): boolean {
    return this.#over !== null;
  }

  make(kind: CallKind, bytes: Uint8Array, root = 0): Promise<Uint8Array> {
    if (this.#over) return Promise.reject(this.#over);
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(new ExchangeAborted(`The exchange broke: other ranks said nothing for ${this.timeoutMs} ms.`)), this.timeoutMs);
      this.#waiting.set(call, { resolve, reject, timer });
      this.send({ call, kind, root }, bytes);
    });
  }

  answer(call: number, bytes: Uint8Array): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    clearTimeout(waiting?.timer);
    waiting?.resolve(bytes);
  }

  /** Every call that waits, and every one to come, rejects with this. */
  fail(error: Error): void {
    if (this.#over) return;
    this.#over = error;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
    this.onOver();
  }
}
