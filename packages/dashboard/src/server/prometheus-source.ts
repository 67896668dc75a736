import { z } from 'zod';
import type { Alert, TargetState } from '../contract.js';
import { type Row, type Span, momentCount } from '../metrics/evaluate.js';
import { type Expression, toPromQl } from '../metrics/expression.js';
import { ALERT_RULES } from '../queries/alerts.js';
import { DashboardError, Refusal } from './errors.js';
import { readLimited } from './read-limited.js';
import type { MetricsSource } from './source.js';
import { within } from './within.js';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 2 ** 20;
/** How often the page is told to look again. */
const TICK_MS = 5_000;
const USUAL_INTERVAL_MS = 15_000;

const labels = z.record(z.string(), z.string());
const matrix = z.object({ result: z.array(z.object({ metric: labels, values: z.array(z.tuple([z.number(), z.string()])) })) });
const activeTargets = z.object({ activeTargets: z.array(z.object({ labels, scrapeUrl: z.string(), health: z.enum(['up', 'down', 'unknown']), lastError: z.string(), lastScrape: z.string(), scrapeInterval: z.string().optional() })) });
const activeAlerts = z.object({ alerts: z.array(z.object({ labels, annotations: labels, state: z.string() })) });

/** A Prometheus through its HTTP API. What it answers is checked; what is wrong with it is said in words that a page can show. */
export class PrometheusSource implements MetricsSource {
  readonly kind = 'prometheus';
  #interval: { ms: number; untilMs: number } | null = null;
  readonly #listeners = new Set<() => void>();
  readonly #timer: NodeJS.Timeout;

  /** @throws DashboardError when it is no address */
  constructor(readonly url: string, private readonly timeoutMs = TIMEOUT_MS) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw new DashboardError(`${url} is no address of a Prometheus. Write it as http://127.0.0.1:9090.`, { exitCode: 2 });
    this.#timer = setInterval(() => this.#listeners.forEach((listener) => listener()), TICK_MS);
  }

  /** Of the slowest of Chameleon's targets, looked up once a minute; Prometheus's usual one while they can't be asked for. */
  async intervalMs(): Promise<number> {
    if (this.#interval !== null && this.#interval.untilMs > Date.now()) return this.#interval.ms;
    await this.targets().catch(() => undefined);
    return this.#interval?.ms ?? USUAL_INTERVAL_MS;
  }

  async range(expression: Expression, span: Span, signal?: AbortSignal): Promise<Row[]> {
    const form = { query: toPromQl(expression), start: String(span.startMs / 1000), end: String(span.endMs / 1000), step: String(span.stepMs / 1000) };
    const { result } = await this.#ask('query_range', matrix, signal, form);
    const count = momentCount(span);
    return result.map(({ metric, values }) => {
      const row: Row = { labels: metric, values: new Float64Array(count), there: new Uint8Array(count) };
      for (const [seconds, text] of values) {
        const at = Math.round((seconds * 1000 - span.startMs) / span.stepMs);
        if (at < 0 || at >= count) continue;
        row.values[at] = Number(text.replace('Inf', 'Infinity'));
        row.there[at] = 1;
      }
      return row;
    });
  }

  async targets(signal?: AbortSignal): Promise<TargetState[]> {
    const { activeTargets: found } = await this.#ask('targets?state=active', activeTargets, signal);
    const ours = found.filter(({ labels: { job } }) => job?.startsWith('chameleon'));
    const intervals = ours.flatMap(({ scrapeInterval }) => (scrapeInterval === undefined ? [] : [durationMs(scrapeInterval)]));
    if (intervals.length > 0) this.#interval = { ms: Math.max(...intervals), untilMs: Date.now() + 60_000 };
    return ours.map(({ labels: { job = '', instance = '' }, scrapeUrl, health, lastError, lastScrape }) => {
      const scrapedAtMs = Date.parse(lastScrape);
      return { job, instance, url: scrapeUrl, health, error: lastError, answeredAtMs: health === 'up' ? scrapedAtMs : null };
    });
  }

  /** What its own rules say; those of the same name as the dashboard's would come twice. */
  async otherAlerts(signal?: AbortSignal): Promise<Alert[]> {
    const { alerts } = await this.#ask('alerts', activeAlerts, signal);
    const own = new Set(ALERT_RULES.map(({ name }) => name));
    return alerts.filter(({ state, labels: { alertname } }) => state === 'firing' && !own.has(alertname ?? '')).map(({ labels: given, annotations }) => ({ name: given['alertname'] ?? 'alert', severity: given['severity'] ?? 'warning', summary: annotations['summary'] ?? annotations['description'] ?? '', labels: given }));
  }

  problems(): string[] {
    return [];
  }

  onTick(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    return Promise.resolve();
  }

  async #ask<Data>(call: string, schema: z.ZodType<Data>, signal: AbortSignal | undefined, form?: Record<string, string>): Promise<Data> {
    const text = await this.#fetch(call, signal, form);
    const parsed = z.object({ status: z.literal('success'), data: schema }).safeParse(parseJson(text));
    if (parsed.success) return parsed.data.data;
    throw new Refusal(502, `${this.url} does not answer as a Prometheus does: ${text.trimStart().startsWith('<') ? 'it sends a page of HTML' : 'its JSON is not whole'}. Look at the address that --prometheus was given.`);
  }

  async #fetch(call: string, signal: AbortSignal | undefined, form?: Record<string, string>): Promise<string> {
    try {
      const { answer, text } = await within(this.timeoutMs, signal, async (stop) => {
        const answer = await fetch(`${this.url.replace(/\/$/, '')}/api/v1/${call}`, { signal: stop, ...(form ? { method: 'POST', body: new URLSearchParams(form) } : {}) });
        return { answer, text: await readLimited(answer, MAX_BYTES) };
      });
      if (answer.ok) return text;
      const said = z.object({ error: z.string() }).safeParse(parseJson(text));
      throw new Refusal(502, `The Prometheus at ${this.url} refuses the query (${answer.status})${said.success ? `: ${said.data.error}` : ''}.`);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      if (error instanceof DOMException && error.name === 'TimeoutError') throw new Refusal(502, `The Prometheus at ${this.url} does not answer within ${this.timeoutMs / 1000} s.`, { cause: error });
      const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
      throw new Refusal(502, `The Prometheus at ${this.url} can't be reached (${code ?? (error as Error).message}).`, { cause: error });
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration as Prometheus writes it (`1m30s`), in ms. */
export function durationMs(text: string): number {
  return [...text.matchAll(/(\d+)(ms|s|m|h|d)/g)].reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit!]!, 0);
}
