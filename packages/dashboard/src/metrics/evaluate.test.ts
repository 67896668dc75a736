import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALERT_RULES } from '../queries/alerts.js';
import { QUERIES, type QueryPart, type QueryScope } from '../queries/catalogue.js';
import { hasPrometheus, startPrometheus, temporaryFolder } from '../testing/prometheus.js';
import { type Row, type Span, evaluate, histogramQuantile, momentCount } from './evaluate.js';
import { type Expression, aggregate, compare, divide, fits, is, over, select, sumBy, toPromQl } from './expression.js';
import { History, labelKey } from './history.js';

const WIDE = { retentionMs: 1e15, maxBytes: 1e9 };
const historyOf = (series: { labels: Record<string, string>; samples: [number, number][] }[]): History => {
  const history = new History(WIDE);
  for (const [i, { labels, samples }] of series.entries()) for (const [time, value] of samples) history.append(String(i), time, [history.idOf(String(i), labels)], [value]);
  return history;
};
const valuesOf = (rows: Row[]) => rows.map(({ values, there }) => Array.from(values, (value, i) => (there[i] === 1 ? value : null)));

describe('an expression', () => {
  const history = historyOf([
    { labels: { __name__: 'c_total', a: 'x' }, samples: [[0, 10], [10_000, 20], [20_000, 5], [30_000, 15]] },
    { labels: { __name__: 'c_total', a: 'y' }, samples: [[0, 0], [10_000, Number.NaN], [20_000, 4], [30_000, 8]] },
  ]);
  const span: Span = { startMs: 30_000, endMs: 30_000, stepMs: 1000 };

  it('counts on over a reset of a counter', () => {
    expect(valuesOf(evaluate(over('increase', select('c_total', is('a', 'x')), 31_000), history, span))[0]![0]).toBeCloseTo(25 * (31 / 30), 9);
  });

  it('gives the least and the greatest of a window without NaN', () => {
    expect(valuesOf(evaluate(over('min_over_time', select('c_total', is('a', 'y')), 25_000), history, span))).toEqual([[4]]);
    expect(valuesOf(evaluate(over('max_over_time', select('c_total'), 31_000), history, span))).toEqual([[20], [8]]);
  });

  it('loses no peak between two moments', () => {
    fc.assert(fc.property(fc.array(fc.double({ noNaN: true }), { minLength: 1, maxLength: 300 }), fc.integer({ min: 1, max: 50 }), (samples, step) => {
      const peaks = historyOf([{ labels: { __name__: 'g' }, samples: samples.map((value, i) => [i * 1000, value]) }]);
      const moments = { startMs: 0, endMs: samples.length * 1000 + step * 1000, stepMs: step * 1000 };
      const [row] = evaluate(over('max_over_time', select('g'), moments.stepMs), peaks, moments);
      const found = Array.from(row!.values).filter((_, i) => row!.there[i] === 1);
      expect(Math.max(...found)).toBe(Math.max(...samples));
    }));
  });

  it('ends where a series is gone, or its last sample is five minutes old', () => {
    const short = new History(WIDE);
    const id = short.idOf('t', { __name__: 'g' });
    short.append('t', 0, [id], [1]);
    short.append('t', 10_000, [], []);
    short.append('u', 0, [short.idOf('u', { __name__: 'h' })], [2]);
    expect(valuesOf(evaluate(select('g'), short, { startMs: 5_000, endMs: 15_000, stepMs: 5_000 }))).toEqual([[1, null, null]]);
    expect(valuesOf(evaluate(select('h'), short, { startMs: 299_000, endMs: 301_000, stepMs: 1_000 }))).toEqual([[2, null, null]]);
  });

  it('quotes what it is given', () => {
    expect(toPromQl(select('m', is('run', 'a"} or vector(1) #\\\n')))).toBe('m{run="a\\"} or vector(1) #\\\\\\n"}');
  });
});

describe('a quantile of a histogram', () => {
  it.each([
    [0.5, [[1, 5], [2, 10], [Infinity, 10]], 1],
    [0.75, [[1, 5], [2, 10], [Infinity, 10]], 1.5],
    [0.99, [[1, 5], [Infinity, 10]], 1],
    [0.5, [[1, 0], [Infinity, 0]], Number.NaN],
    [0.5, [[1, 5], [2, 10]], Number.NaN],
    [0.5, [[-1, 5], [Infinity, 6]], -1],
  ])('%d of %j is %d', (q, buckets, expected) => {
    expect(histogramQuantile(q, buckets.map(([bound, count]) => ({ bound: bound!, count: count! })))).toBe(expected);
  });
});

/** Random scrapes of what a run and a server have: gaps, resets, NaN, series that begin late. */
function randomSeries(seed: number): { labels: Record<string, string>; samples: [number, number][] }[] {
  const start = 1_600_000_000_000;
  let state = seed;
  const random = () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) / 2 ** 32;
  const times = Array.from({ length: 260 }, (_, i) => start + i * 5_000 + Math.floor(random() * 900) + 7);
  const build = (labels: Record<string, string>, next: (before: number, i: number) => number, { from = 0, gap = -1 } = {}) => {
    let value = 0;
    const samples: [number, number][] = [];
    for (const [i, time] of times.entries()) {
      value = next(value, i);
      if (i >= from && !(i >= gap && i < gap + 80)) samples.push([time, value]);
    }
    return { labels, samples };
  };
  const counter = (before: number) => (random() < 0.01 ? 0 : before + Math.floor(random() * 5));
  const wave = (_: number, i: number) => (random() < 0.02 ? Number.NaN : Math.sin(i / 10) + random());
  const histogram = (name: string, labels: Record<string, string>) => {
    const bounds = ['0.01', '0.1', '1', '+Inf'];
    const reset = 100 + Math.floor(random() * 50);
    let totals = [0, 0, 0, 0], sum = 0;
    const rows = times.map((time, i) => {
      if (i === reset) [totals, sum] = [[0, 0, 0, 0], 0];
      const grown = Math.floor(random() * 10);
      totals = totals.map((total, b) => total + Math.round((grown * (b + 1)) / 4));
      sum += grown * random();
      return { time, totals, sum };
    });
    return [
      ...bounds.map((le, b) => ({ labels: { __name__: `${name}_bucket`, ...labels, le }, samples: rows.map(({ time, totals: t }): [number, number] => [time, t[b]!]) })),
      { labels: { __name__: `${name}_sum`, ...labels }, samples: rows.map(({ time, sum: s }): [number, number] => [time, s]) },
      { labels: { __name__: `${name}_count`, ...labels }, samples: rows.map(({ time, totals: t }): [number, number] => [time, t[3]!]) },
    ];
  };
  const run = { run: 'r', instance: 'i1', job: 'chameleon' };
  const http = { route: '/v1/classify', method: 'POST', instance: 'i2', job: 'chameleon' };
  return [
    build({ __name__: 'up', instance: 'i1', job: 'chameleon' }, () => (random() < 0.1 ? 0 : 1)),
    ...['train', 'valid'].map((split) => build({ __name__: 'chameleon_train_loss', ...run, split }, wave, { gap: 90 })),
    build({ __name__: 'chameleon_train_step', ...run }, (before) => before + 1),
    ...['body', 'head'].map((group) => build({ __name__: 'chameleon_train_learning_rate', ...run, group }, wave, { from: 30 })),
    ...['w0', 'w1'].map((worker) => build({ __name__: 'chameleon_train_samples_total', ...run, worker }, counter)),
    build({ __name__: 'chameleon_train_restarts_total', ...run, reason: 'lost' }, (before) => before + (random() < 0.05 ? 1 : 0)),
    build({ __name__: 'chameleon_train_checkpoint_timestamp_seconds', ...run }, (_, i) => start / 1000 + i),
    ...['w0', 'w1'].flatMap((worker) => ['data', 'forward', 'exchange'].flatMap((phase) => histogram('chameleon_train_phase_seconds', { ...run, worker, phase }))),
    ...['200', '503'].flatMap((status) => [build({ __name__: 'chameleon_http_requests_total', ...http, status }, counter), ...histogram('chameleon_http_request_seconds', { ...http, status })]),
    ...['decode', 'compute'].flatMap((phase) => ['1', '2'].flatMap((version) => histogram('chameleon_predict_phase_seconds', { model: 'm', version, phase, instance: 'i2', job: 'chameleon' }))),
    ...histogram('chameleon_predict_batch_size', { model: 'm', instance: 'i2', job: 'chameleon' }),
    ...['cat', 'dog'].map((name) => build({ __name__: 'chameleon_predictions_total', model: 'm', version: '1', class: name, instance: 'i2', job: 'chameleon' }, counter)),
  ];
}

const escape = (text: string) => text.replace(/[\\"]/g, '\\$&');
function openMetrics(series: ReturnType<typeof randomSeries>): string {
  const metrics = [...new Set(series.map(({ labels }) => labels['__name__']!))].map((metric) => ({ metric, members: series.filter(({ labels }) => labels['__name__'] === metric) }));
  const lines = metrics.flatMap(({ metric, members }) => [`# TYPE ${metric} unknown`, ...members.flatMap(({ labels: { __name__: _, ...labels }, samples }) => samples.map(([time, value]) => `${metric}{${Object.entries(labels).map(([name, text]) => `${name}="${escape(text)}"`).join(',')}} ${Number.isNaN(value) ? 'NaN' : value} ${(time / 1000).toFixed(3)}`))]);
  return `${lines.join('\n')}\n# EOF\n`;
}

describe.skipIf(!hasPrometheus)('beside a real Prometheus (left out where it is not installed)', () => {
  it('every query of the page and every alert gives the same numbers', async () => {
    await using folder = await temporaryFolder();
    const series = randomSeries(42);
    await using prometheus = await startPrometheus(folder.path, { openMetrics: openMetrics(series) });
    const history = historyOf(series);
    const [startMs, endMs] = [1_600_000_000_003, 1_600_001_500_003];
    for (const stepMs of [5_000, 60_000]) {
      const scope: QueryScope = { run: 'r', model: 'm', rateMs: Math.max(stepMs, 20_000), envelopeMs: stepMs };
      const parts = Object.values(QUERIES).flatMap(({ parts: make }): QueryPart[] => make(scope)).flatMap((part) => [part.value, ...(part.envelope ? [part.envelope.low, part.envelope.high] : [])]);
      const more: Expression[] = [
        compare(divide(sumBy(['run'], select('chameleon_train_step')), aggregate('count', ['run'], select('chameleon_train_step'))), '>', 7), aggregate('avg', ['split'], select('chameleon_train_loss')), select('up', { label: 'instance', op: '!~', value: 'i2|i3' }), over('min_over_time', select('chameleon_train_loss', fits('split', 't.*')), 30_000),
        over('increase', select('chameleon_train_samples_total'), 45_000)];
      let compared = 0;
      for (const expression of [...parts, ...more, ...ALERT_RULES.map((rule) => rule.expression)]) compared += await expectSame(prometheus.url, expression, history, { startMs, endMs, stepMs });
      expect(compared).toBeGreaterThan(500);
    }
  });
});

interface Matrix { data: { result: { metric: Record<string, string>; values: [number, string][] }[] } }

async function expectSame(url: string, expression: Expression, history: History, span: Span): Promise<number> {
  const query = toPromQl(expression);
  const answer = await fetch(`${url}/api/v1/query_range`, { method: 'POST', body: new URLSearchParams({ query, start: String(span.startMs / 1000), end: String(span.endMs / 1000), step: String(span.stepMs / 1000) }) });
  const { data } = (await answer.json()) as Matrix;
  expect(answer.status, query).toBe(200);
  const theirs = new Map(data.result.map(({ metric, values }) => [labelKey(metric), new Map(values.map(([time, text]) => [Math.round(time * 1000), Number(text.replace('Inf', 'Infinity'))]))]));
  const ours = new Map(evaluate(expression, history, span).map((row) => [labelKey(row.labels), row]));
  expect([...ours.keys()].sort(), query).toEqual([...theirs.keys()].sort());
  let count = 0;
  for (const [key, row] of ours) {
    for (let i = 0; i < momentCount(span); i++) {
      const expected = theirs.get(key)!.get(span.startMs + i * span.stepMs);
      const given = row.there[i] === 1 ? row.values[i] : undefined;
      if (expected === undefined || given === undefined || !Number.isFinite(expected)) expect(given, `${query} ${key} at ${i}`).toEqual(expected);
      else if (Math.abs(given - expected) > 1e-9 * Math.max(1, Math.abs(expected))) expect(given, `${query} ${key} at ${i}`).toBe(expected);
      count++;
    }
  }
  return count;
}
