import type { Matcher } from './history.js';

/**
 * What the page asks of metrics, as data: rendered to PromQL for a Prometheus, or evaluated on the embedded history. Both give the same
 * numbers, so this is no more than the part of PromQL that both have.
 */
export interface Selector {
  kind: 'select';
  metric: string;
  matchers: readonly Matcher[];
}
export type OverTime = 'rate' | 'increase' | 'min_over_time' | 'max_over_time';
export type Aggregation = 'sum' | 'min' | 'max' | 'avg' | 'count';

export type Expression =
  | Selector
  /** A function of the samples in the window before each moment. */
  | { kind: 'over'; fn: OverTime; of: Selector; windowMs: number }
  | { kind: 'aggregate'; op: Aggregation; by: readonly string[]; of: Expression }
  /** A quantile, in [0, 1], of the histogram whose buckets `of` gives by `le`. */
  | { kind: 'quantile'; q: number; of: Expression }
  /** Where both sides have the same labels. */
  | { kind: 'divide'; left: Expression; right: Expression }
  /** Each part of the sum of all. */
  | { kind: 'share'; of: Expression }
  /** Seconds since the moments that `of` gives, in seconds since 1970. */
  | { kind: 'age'; of: Expression }
  /** Keeps what fits. */
  | { kind: 'compare'; op: '>' | '<' | '=='; of: Expression; bound: number };

export const select = (metric: string, ...matchers: readonly Matcher[]): Selector => ({ kind: 'select', metric, matchers });
export const is = (label: string, value: string): Matcher => ({ label, op: '=', value });
export const fits = (label: string, value: string): Matcher => ({ label, op: '=~', value });
export const over = (fn: OverTime, of: Selector, windowMs: number): Expression => ({ kind: 'over', fn, of, windowMs });
export const rate = (of: Selector, windowMs: number): Expression => over('rate', of, windowMs);
export const aggregate = (op: Aggregation, by: readonly string[], of: Expression): Expression => ({ kind: 'aggregate', op, by, of });
export const sumBy = (by: readonly string[], of: Expression): Expression => aggregate('sum', by, of);
export const divide = (left: Expression, right: Expression): Expression => ({ kind: 'divide', left, right });
export const compare = (of: Expression, op: '>' | '<' | '==', bound: number): Expression => ({ kind: 'compare', op, of, bound });

/** The expression in PromQL. */
export function toPromQl(expression: Expression): string {
  switch (expression.kind) {
    case 'select':
      return expression.matchers.length === 0 ? expression.metric : `${expression.metric}{${expression.matchers.map(({ label, op, value }) => `${label}${op}${quote(value)}`).join(',')}}`;
    case 'over':
      return `${expression.fn}(${toPromQl(expression.of)}[${duration(expression.windowMs)}])`;
    case 'aggregate':
      return `${expression.op} by (${expression.by.join(', ')}) (${toPromQl(expression.of)})`;
    case 'quantile':
      return `histogram_quantile(${expression.q}, ${toPromQl(expression.of)})`;
    case 'divide':
      return `(${toPromQl(expression.left)}) / (${toPromQl(expression.right)})`;
    case 'share':
      return `(${toPromQl(expression.of)}) / on () group_left () sum(${toPromQl(expression.of)})`;
    case 'age':
      return `time() - (${toPromQl(expression.of)})`;
    case 'compare':
      return `(${toPromQl(expression.of)}) ${expression.op} ${expression.bound}`;
    default:
      return expression satisfies never;
  }
}

const DURATIONS: readonly [number, string][] = [[3_600_000, 'h'], [60_000, 'm'], [1_000, 's']];

/** A span of time in the largest unit that it is a whole number of. */
export function duration(ms: number): string {
  const [size, unit] = DURATIONS.find(([each]) => ms % each === 0) ?? [1, 'ms'];
  return `${ms / size}${unit}`;
}

/** A text in PromQL's double quotes, whose escapes are Go's. */
function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"`;
}
