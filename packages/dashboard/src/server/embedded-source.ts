import { stat } from 'node:fs/promises';
import type { Alert, TargetState } from '../contract.js';
import { type Row, type Span, evaluate } from '../metrics/evaluate.js';
import type { Expression } from '../metrics/expression.js';
import { History, type HistoryLimits } from '../metrics/history.js';
import { Journal } from '../metrics/journal.js';
import { messageOf } from './errors.js';
import { Scraper } from './scraper.js';
import type { MetricsSource } from './source.js';
import { type Target, readTargets } from './targets.js';

export interface EmbeddedOptions {
  targets: readonly Target[];
  /** A file of more targets; read anew when it changes. */
  file?: string;
  intervalMs: number;
  limits: HistoryLimits;
  /** Where scrapes are kept on the disk; by default they are not. */
  folder?: string;
}

const FILE_POLL_MS = 2_000;
/** Listeners hear of new samples at most so often, however many targets there are. */
const TICK_MS = 500;

/** The dashboard's own Prometheus in small: scrapes, the last hours of them, and the queries of the page. */
export class EmbeddedSource implements MetricsSource {
  readonly kind = 'embedded';
  readonly url = '';
  readonly #listeners = new Set<() => void>();
  readonly #scraper: Scraper;
  #fileProblem: string | null = null;
  #fileStamp = '';
  #poll: NodeJS.Timeout | undefined;
  #tick: NodeJS.Timeout | undefined;

  private constructor(private readonly options: EmbeddedOptions, private readonly history: History, private readonly journal: Journal | null) {
    this.#scraper = new Scraper({ history, journal, intervalMs: options.intervalMs, onTick: () => this.#announce() });
  }

  /** @throws DashboardError when the file of targets is wrong, or what the file system says of the folder */
  static async start(options: EmbeddedOptions): Promise<EmbeddedSource> {
    const fromFile = options.file === undefined ? [] : await readTargets(options.file);
    const history = new History(options.limits);
    const journal = options.folder === undefined ? null : await Journal.open(options.folder, options.limits, history, Date.now());
    const source = new EmbeddedSource(options, history, journal);
    source.#scraper.watch([...options.targets, ...fromFile]);
    if (options.file !== undefined) {
      source.#fileStamp = await stampOf(options.file);
      source.#poll = setInterval(() => void source.#readFileAgain(options.file!), FILE_POLL_MS);
    }
    return source;
  }

  intervalMs(): Promise<number> {
    return Promise.resolve(this.options.intervalMs);
  }

  range(expression: Expression, span: Span): Promise<Row[]> {
    return Promise.resolve(evaluate(expression, this.history, span));
  }

  targets(): Promise<TargetState[]> {
    return Promise.resolve(this.#scraper.states());
  }

  otherAlerts(): Promise<Alert[]> {
    return Promise.resolve([]);
  }

  problems(): string[] {
    return [this.journal?.failure ?? null, this.#fileProblem].filter((problem) => problem !== null);
  }

  onTick(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#poll);
    clearTimeout(this.#tick);
    await this.#scraper[Symbol.asyncDispose]();
    await this.journal?.[Symbol.asyncDispose]();
  }

  #announce(): void {
    this.#tick ??= setTimeout(() => {
      this.#tick = undefined;
      for (const listener of this.#listeners) listener();
    }, TICK_MS);
  }

  /** A file that is broken for a while changes nothing but what `problems` says. */
  async #readFileAgain(path: string): Promise<void> {
    const stamp = await stampOf(path);
    if (stamp === this.#fileStamp) return;
    this.#fileStamp = stamp;
    try {
      this.#scraper.watch([...this.options.targets, ...(await readTargets(path))]);
      this.#fileProblem = null;
    } catch (error) {
      this.#fileProblem = messageOf(error);
    }
  }
}

const stampOf = (path: string): Promise<string> => stat(path).then(({ mtimeMs, size }) => `${mtimeMs} ${size}`, () => 'absent');
