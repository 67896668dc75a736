import type { z } from 'zod';
import type { QueryAnswer, WireValue, lineSchema, querySchema } from '../contract.js';
import { type Row, type Span, momentCount } from '../metrics/evaluate.js';
import { labelKey } from '../metrics/history.js';
import { QUERIES, type QueryPart } from '../queries/catalogue.js';
import type { MetricsSource } from './source.js';

type WireLine = z.input<typeof lineSchema>;
export type WireAnswer = Omit<QueryAnswer, 'lines'> & { lines: WireLine[] };

/** A rate needs a few samples: Prometheus's own advice is four scrapes. */
const RATE_SCRAPES = 4;
/** Lines of a panel beyond it can't be told apart, and would stall the page. */
const LINE_LIMIT = 200;

/** What a named query gives over a span. @throws Refusal (502) when the source can't answer */
export async function answerQuery(query: z.output<typeof querySchema>, source: MetricsSource, signal?: AbortSignal): Promise<WireAnswer> {
  const { name, run, model, startMs, endMs, stepMs } = query;
  const span: Span = { startMs, endMs, stepMs };
  const intervalMs = await source.intervalMs();
  const scope = { ...(run === undefined ? {} : { run }), ...(model === undefined ? {} : { model }), rateMs: Math.max(stepMs, RATE_SCRAPES * intervalMs), envelopeMs: stepMs > intervalMs && endMs > startMs ? stepMs : null };
  const lines = await Promise.all(QUERIES[name].parts(scope).map((part) => linesOf(part, source, span, signal)));
  return { startMs, stepMs, count: momentCount(span), lines: lines.flat().slice(0, LINE_LIMIT) };
}

async function linesOf(part: QueryPart, source: MetricsSource, span: Span, signal?: AbortSignal): Promise<WireLine[]> {
  const ask = (expression: QueryPart['value']) => source.range(expression, span, signal);
  const [rows, low, high] = await Promise.all([ask(part.value), part.envelope ? ask(part.envelope.low) : [], part.envelope ? ask(part.envelope.high) : []]);
  const lows = byLabels(low), highs = byLabels(high);
  // A run that was over between two moments is in its envelope alone.
  const keys = new Map([...rows, ...low].map((row) => [labelKey(row.labels), row]));
  const values = byLabels(rows);
  return [...keys].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { labels }]) => {
    const [least, greatest] = [lows.get(key), highs.get(key)];
    return { labels: { ...labels, ...part.labels }, values: wire(values.get(key) ?? least!), ...(least && greatest ? { low: wire(least), high: wire(greatest) } : {}) };
  });
}

const byLabels = (rows: readonly Row[]): Map<string, Row> => new Map(rows.map((row) => [labelKey(row.labels), row]));
const wire = ({ values, there }: Row): WireValue[] => Array.from(values, (value, i) => (there[i] === 0 ? null : toWire(value)));

/** A number as JSON can have it. */
export function toWire(value: number): WireValue {
  return Number.isFinite(value) ? value : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
