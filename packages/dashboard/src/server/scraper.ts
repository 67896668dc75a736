import type { TargetState } from '../contract.js';
import { parseExposition, parseSeries } from '../metrics/exposition.js';
import type { History } from '../metrics/history.js';
import type { Journal } from '../metrics/journal.js';
import { readLimited } from './read-limited.js';
import type { Target } from './targets.js';
import { within } from './within.js';

export interface ScraperOptions {
  history: History;
  journal: Journal | null;
  intervalMs: number;
  /** Called after each scrape. */
  onTick: () => void;
}

const MAX_BYTES = 16 * 2 ** 20;
/** Above it a target has a label of unbounded values, and would crowd out the others. */
const MAX_SERIES = 20_000;

interface Watched {
  target: Target;
  state: TargetState;
  /** By the series' text in the exposition, its number in the history. */
  ids: Map<string, number>;
  timer: NodeJS.Timeout;
  stop: AbortController;
}

/**
 * Scrapes targets as Prometheus does: each on its own beat, with `up` and the scrape's length beside what it says. One that fails, hangs
 * or talks nonsense is down, with the reason; the others know nothing of it.
 */
export class Scraper implements AsyncDisposable {
  readonly #watched = new Map<string, Watched>();
  readonly #running = new Set<Promise<void>>();

  constructor(private readonly options: ScraperOptions) {}

  /** Watches these from now on, and no others. */
  watch(targets: readonly Target[]): void {
    const wanted = new Map(targets.map((target) => [keyOf(target), target]));
    for (const [key, watched] of this.#watched) {
      if (wanted.has(key)) continue;
      this.#forget(watched);
      this.#watched.delete(key);
      // Its series end here, as they do in Prometheus.
      this.options.history.append(key, Date.now(), [], []);
    }
    for (const [key, target] of wanted) {
      if (this.#watched.has(key)) continue;
      const state: TargetState = { job: target.labels['job']!, instance: target.labels['instance']!, url: target.url, health: 'unknown', error: '', answeredAtMs: null };
      const watched: Watched = { target, state, ids: new Map(), timer: setTimeout(() => undefined, 0), stop: new AbortController() };
      this.#watched.set(key, watched);
      void this.#scrapeAndPlan(key, watched);
    }
  }

  states(): TargetState[] {
    return [...this.#watched.values()].map(({ state }) => ({ ...state }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const watched of this.#watched.values()) this.#forget(watched);
    this.#watched.clear();
    await Promise.all(this.#running);
  }

  #forget({ timer, stop }: Watched): void {
    clearTimeout(timer);
    stop.abort();
  }

  async #scrapeAndPlan(key: string, watched: Watched): Promise<void> {
    const began = performance.now();
    const scrape = this.#scrape(key, watched);
    this.#running.add(scrape);
    await scrape;
    this.#running.delete(scrape);
    if (watched.stop.signal.aborted) return;
    this.options.onTick();
    watched.timer = setTimeout(() => void this.#scrapeAndPlan(key, watched), Math.max(0, this.options.intervalMs - (performance.now() - began)));
  }

  async #scrape(key: string, watched: Watched): Promise<void> {
    const timeMs = Date.now(), began = performance.now();
    const samples = await this.#read(watched).catch((error: unknown) => {
      watched.state.error = explain(error, this.#timeoutMs);
      return null;
    });
    if (watched.stop.signal.aborted) return;
    watched.state.health = samples ? 'up' : 'down';
    if (samples) watched.state.error = '';
    if (samples) watched.state.answeredAtMs = timeMs;
    const { history, journal } = this.options;
    const own = { up: samples ? 1 : 0, scrape_duration_seconds: (performance.now() - began) / 1000, scrape_samples_scraped: samples?.ids.length ?? 0 };
    const ids = [...(samples?.ids ?? []), ...Object.keys(own).map((name) => history.idOf(key, { __name__: name, ...watched.target.labels }))];
    const values = [...(samples?.values ?? []), ...Object.values(own)];
    history.append(key, timeMs, ids, values);
    await journal?.write(key, timeMs, history, ids, values);
  }

  get #timeoutMs(): number {
    return Math.min(10_000, this.options.intervalMs);
  }

  async #read({ target, ids, stop }: Watched): Promise<{ ids: number[]; values: number[] }> {
    const text = await within(this.#timeoutMs, stop.signal, async (signal) => {
      const answer = await fetch(target.url, { signal, redirect: 'error', headers: { accept: 'text/plain;version=0.0.4' } });
      if (!answer.ok) throw new Error(`it answers with ${answer.status}`);
      return readLimited(answer, MAX_BYTES);
    });
    const samples = parseExposition(text);
    if (samples.length > MAX_SERIES) throw new Error(`it has ${samples.length} series; more than ${MAX_SERIES} are not taken`);
    if (ids.size > 4 * MAX_SERIES) ids.clear();
    return { ids: samples.map(({ series }) => this.#idOf(series, ids, target)), values: samples.map(({ value }) => value) };
  }

  #idOf(series: string, ids: Map<string, number>, target: Target): number {
    const { history } = this.options;
    const known = ids.get(series);
    if (known !== undefined && history.labelsOf(known)) return known;
    const given = parseSeries(series);
    // The target's own labels win; what they hide is kept under another name, as Prometheus does.
    const hidden = Object.fromEntries(Object.entries(given).map(([name, value]) => [name in target.labels ? `exported_${name}` : name, value]));
    const id = history.idOf(keyOf(target), { ...hidden, ...target.labels });
    ids.set(series, id);
    return id;
  }
}

const keyOf = ({ url, labels }: Target): string => `${url} ${JSON.stringify(labels)}`;

function explain(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} s`;
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  if (cause?.message === 'bad port') return 'this port is kept for another protocol: choose another for the metrics';
  return cause?.code === 'ECONNREFUSED' ? 'nothing listens there' : (cause?.message ?? error.message);
}
