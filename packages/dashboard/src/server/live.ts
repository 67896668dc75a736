import type { Response } from 'express';
import type { RunLibrary } from '../runs/run-library.js';
import { toWire } from './answer-query.js';
import type { MetricsSource } from './source.js';

const CONNECTION_LIMIT = 100;
const STEPS_POLL_MS = 400;
const KEEP_ALIVE_MS = 15_000;
/** Whoever doesn't read what is sent is let go, and comes back by polling. */
const BACKLOG_BYTES = 2 ** 20;

/** Pages that listen: server-sent events say when there is something new, and a run's last step as it is written down. */
export class Live implements Disposable {
  readonly #open = new Set<() => void>();

  constructor(private readonly source: MetricsSource, private readonly runs: RunLibrary | null) {}

  get isFull(): boolean {
    return this.#open.size >= CONNECTION_LIMIT;
  }

  /** Answers with events until the page goes away. */
  connect(response: Response, run: string | undefined): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    const send = (text: string) => {
      if (response.writableLength > BACKLOG_BYTES) return close();
      response.write(text);
    };
    const endings = [this.source.onTick(() => send('event: tick\ndata: {}\n\n')), every(KEEP_ALIVE_MS, () => send(': still here\n\n')), this.#followRun(run, send)];
    const close = () => {
      if (!this.#open.delete(close)) return;
      for (const end of endings) end();
      response.end();
    };
    this.#open.add(close);
    response.once('close', close);
    send('retry: 2000\nevent: tick\ndata: {}\n\n');
  }

  [Symbol.dispose](): void {
    for (const close of [...this.#open]) close();
  }

  #followRun(run: string | undefined, send: (text: string) => void): () => void {
    const { runs } = this;
    if (runs === null || run === undefined) return () => undefined;
    let last = -1, busy = false;
    const look = async () => {
      if (busy || (await runs.pathOf(run)) === null) return;
      busy = true;
      const { curve } = await runs.record(run).finally(() => (busy = false));
      if (curve.lastStep === last) return;
      last = curve.lastStep;
      const loss = curve.points(last, last, 1).loss[0] ?? Number.NaN;
      send(`event: steps\ndata: ${JSON.stringify({ run, step: last, loss: toWire(loss) })}\n\n`);
    };
    return every(STEPS_POLL_MS, () => void look().catch(() => undefined));
  }
}

function every(ms: number, work: () => void): () => void {
  const timer = setInterval(work, ms);
  return () => clearInterval(timer);
}
