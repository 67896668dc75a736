import type { Labels } from './exposition.js';
import type { Aggregation, Expression, OverTime } from './expression.js';
import { type History, type Samples, labelKey } from './history.js';

/** Moments from `startMs` by `stepMs` to `endMs`, which is one of them only where it falls so. */
export interface Span {
  startMs: number;
  endMs: number;
  stepMs: number;
}

/** A value at each moment of a span. Where `there` is 0 there is none; NaN is a value. */
export interface Row {
  labels: Labels;
  values: Float64Array;
  there: Uint8Array;
}

/** A sample counts for as long after it was taken, as with Prometheus's default. */
const LOOKBACK_MS = 5 * 60_000;

export const momentCount = ({ startMs, endMs, stepMs }: Span): number => Math.floor((endMs - startMs) / stepMs) + 1;

/** What an expression is at each moment, by Prometheus's rules (2.42: extrapolated rates, NaN, ends of series, histograms). */
export function evaluate(expression: Expression, history: History, span: Span): Row[] {
  const inner = (of: Expression) => evaluate(of, history, span);
  switch (expression.kind) {
    case 'select':
      return keepSome(history.select(expression.metric, expression.matchers, span.startMs - LOOKBACK_MS, span.endMs).map((samples) => lastValues(samples, span)));
    case 'over': {
      const { of, fn, windowMs } = expression;
      return keepSome(history.select(of.metric, of.matchers, span.startMs - windowMs, span.endMs).map((samples) => overTime(fn, samples, span, windowMs)));
    }
    case 'aggregate':
      return aggregateRows(inner(expression.of), expression.op, expression.by, momentCount(span));
    case 'quantile':
      return keepSome(quantileRows(inner(expression.of), expression.q, momentCount(span)));
    case 'divide':
      return keepSome(divideRows(inner(expression.left), inner(expression.right)));
    case 'share':
      return keepSome(shares(inner(expression.of), momentCount(span)));
    case 'age':
      return inner(expression.of).map((row) => ({ ...unnamed(row), values: row.values.map((value, i) => (span.startMs + i * span.stepMs) / 1000 - value) }));
    case 'compare': {
      const { op, bound } = expression;
      const holds = op === '>' ? (v: number) => v > bound : op === '<' ? (v: number) => v < bound : (v: number) => v === bound;
      return keepSome(inner(expression.of).map((row) => ({ ...row, there: row.there.map((there, i) => (there === 1 && holds(row.values[i]!) ? 1 : 0)) })));
    }
    default:
      return expression satisfies never;
  }
}

const keepSome = (rows: readonly Row[]): Row[] => rows.filter(({ there }) => there.includes(1));

function emptyRow(labels: Labels, count: number): Row {
  return { labels, values: new Float64Array(count), there: new Uint8Array(count) };
}

function unnamed<Given extends { labels: Labels }>(row: Given): Given {
  const { __name__: _, ...labels } = row.labels;
  return { ...row, labels };
}

function lastValues({ labels, times, values, gone }: Samples, span: Span): Row {
  const row = emptyRow(labels, momentCount(span));
  let next = 0;
  for (let i = 0; i < row.values.length; i++) {
    const at = span.startMs + i * span.stepMs;
    while (next < times.length && times[next]! <= at) next++;
    const last = next - 1;
    if (last < 0 || gone[last] === 1 || times[last]! <= at - LOOKBACK_MS) continue;
    row.values[i] = values[last]!;
    row.there[i] = 1;
  }
  return row;
}

function overTime(fn: OverTime, samples: Samples, span: Span, windowMs: number): Row {
  const { times, values } = withoutEnds(samples);
  const row = emptyRow(unnamed(samples).labels, momentCount(span));
  const resets = fn === 'rate' || fn === 'increase' ? resetSums(values) : values;
  let from = 0, to = 0;
  for (let i = 0; i < row.values.length; i++) {
    const at = span.startMs + i * span.stepMs;
    while (to < times.length && times[to]! <= at) to++;
    while (from < to && times[from]! <= at - windowMs) from++;
    const value = fn === 'rate' || fn === 'increase' ? increase({ times, values, resets }, from, to, at - windowMs, at) : extreme(fn, values, from, to);
    if (value === null) continue;
    row.values[i] = fn === 'rate' ? value / (windowMs / 1000) : value;
    row.there[i] = 1;
  }
  return row;
}

function withoutEnds({ times, values, gone }: Samples): { times: Float64Array; values: Float64Array } {
  if (!gone.includes(1)) return { times, values };
  return { times: times.filter((_, i) => gone[i] === 0), values: values.filter((_, i) => gone[i] === 0) };
}

/** At each sample, what the counter had lost by resets until then. */
function resetSums(values: Float64Array): Float64Array {
  const sums = new Float64Array(values.length);
  for (let i = 1; i < values.length; i++) sums[i] = sums[i - 1]! + (values[i]! < values[i - 1]! ? values[i - 1]! : 0);
  return sums;
}

/** How much a counter grew in a window, as Prometheus's `extrapolatedRate` has it: the ends that no sample covers are estimated. */
function increase({ times, values, resets }: { times: Float64Array; values: Float64Array; resets: Float64Array }, from: number, to: number, startMs: number, endMs: number): number | null {
  if (to - from < 2) return null;
  const first = from, last = to - 1;
  const grown = values[last]! - values[first]! + resets[last]! - resets[first]!;
  const sampled = (times[last]! - times[first]!) / 1000;
  const between = sampled / (to - from - 1);
  let before = (times[first]! - startMs) / 1000;
  const after = (endMs - times[last]!) / 1000;
  // A counter starts at zero, not below: no longer back than it would have taken from there.
  if (grown > 0 && values[first]! >= 0) before = Math.min(before, sampled * (values[first]! / grown));
  const reach = between * 1.1;
  const covered = sampled + (before < reach ? before : between / 2) + (after < reach ? after : between / 2);
  return grown * (covered / sampled);
}

function extreme(fn: 'min_over_time' | 'max_over_time', values: Float64Array, from: number, to: number): number | null {
  if (from === to) return null;
  let found = values[from]!;
  for (let i = from + 1; i < to; i++) {
    const value = values[i]!;
    if ((fn === 'min_over_time' ? value < found : value > found) || Number.isNaN(found)) found = value;
  }
  return found;
}

/** Rows in groups of those that have the same values of `by`. */
function groupBy(rows: readonly Row[], labelsOf: (labels: Labels) => Labels): { labels: Labels; members: Row[] }[] {
  const groups = new Map<string, { labels: Labels; members: Row[] }>();
  for (const row of rows) {
    const labels = labelsOf(row.labels);
    const key = labelKey(labels);
    const group = groups.get(key) ?? { labels, members: [] };
    groups.set(key, group);
    group.members.push(row);
  }
  return [...groups.values()];
}

function aggregateRows(rows: readonly Row[], op: Aggregation, by: readonly string[], count: number): Row[] {
  const kept = (labels: Labels): Labels => Object.fromEntries(by.flatMap((name) => (labels[name] === undefined ? [] : [[name, labels[name]]])));
  return groupBy(rows, kept).map(({ labels, members }) => {
    const row = emptyRow(labels, count);
    for (let i = 0; i < count; i++) {
      let value = 0, seen = 0;
      for (const member of members) {
        if (member.there[i] === 0) continue;
        value = combine(op, value, member.values[i]!, seen++);
      }
      if (seen === 0) continue;
      row.values[i] = op === 'avg' ? value / seen : op === 'count' ? seen : value;
      row.there[i] = 1;
    }
    return row;
  });
}

function combine(op: Aggregation, before: number, value: number, seen: number): number {
  if (op === 'sum' || op === 'avg') return before + value;
  if (op === 'count') return 0;
  if (seen === 0 || Number.isNaN(before)) return value;
  return (op === 'min' ? value < before : value > before) ? value : before;
}

function divideRows(left: readonly Row[], right: readonly Row[]): Row[] {
  const divisors = new Map(right.map((row) => [labelKey(unnamed(row).labels), row]));
  return left.flatMap((row) => {
    const { labels } = unnamed(row);
    const divisor = divisors.get(labelKey(labels));
    if (!divisor) return [];
    return [{ labels, values: row.values.map((value, i) => value / divisor.values[i]!), there: row.there.map((there, i) => there & divisor.there[i]!) }];
  });
}

function shares(rows: readonly Row[], count: number): Row[] {
  const [total] = aggregateRows(rows, 'sum', [], count);
  return rows.map((row) => ({ ...unnamed(row), values: row.values.map((value, i) => value / total!.values[i]!) }));
}

function quantileRows(rows: readonly Row[], q: number, count: number): Row[] {
  const withoutBound = (labels: Labels): Labels => {
    const { le: _, __name__: __, ...rest } = labels;
    return rest;
  };
  return groupBy(rows.filter(({ labels }) => labels['le'] !== undefined), withoutBound).map(({ labels, members }) => {
    const bounds = members.map((row) => ({ row, bound: row.labels['le'] === '+Inf' ? Number.POSITIVE_INFINITY : Number(row.labels['le']) })).filter(({ bound }) => !Number.isNaN(bound)).sort((a, b) => a.bound - b.bound);
    const result = emptyRow(labels, count);
    for (let i = 0; i < count; i++) {
      const buckets = bounds.flatMap(({ row, bound }) => (row.there[i] === 1 ? [{ bound, count: row.values[i]! }] : []));
      if (buckets.length === 0) continue;
      result.values[i] = histogramQuantile(q, buckets);
      result.there[i] = 1;
    }
    return result;
  });
}

/** A quantile of a histogram with cumulative counts, in order of their bounds; linear inside a bucket. NaN where there is nothing to tell it by. */
export function histogramQuantile(q: number, buckets: readonly { bound: number; count: number }[]): number {
  if (Number.isNaN(q)) return Number.NaN;
  if (q < 0) return Number.NEGATIVE_INFINITY;
  if (q > 1) return Number.POSITIVE_INFINITY;
  if (buckets.length < 2 || buckets.at(-1)!.bound !== Number.POSITIVE_INFINITY) return Number.NaN;
  // Buckets are read one after another while they grow: a later one may hold less.
  let highest = Number.NEGATIVE_INFINITY;
  const counts = buckets.map(({ count }) => (highest = count > highest ? count : highest));
  const total = counts.at(-1)!;
  if (total === 0 || Number.isNaN(total)) return Number.NaN;
  const rank = q * total;
  const found = counts.findIndex((count, i) => i === counts.length - 1 || count >= rank);
  if (found === counts.length - 1) return buckets[found - 1]!.bound;
  if (found === 0 && buckets[0]!.bound <= 0) return buckets[0]!.bound;
  const [low, below] = found === 0 ? [0, 0] : [buckets[found - 1]!.bound, counts[found - 1]!];
  return low + (buckets[found]!.bound - low) * ((rank - below) / (counts[found]! - below));
}
