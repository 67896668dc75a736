import type { QueryAnswer } from '../../contract.js';

/** A line's values at the plot's places on the x axis: null for a gap, undefined where only other lines have a place. */
export type Values = readonly (number | null | undefined)[];

export interface CurveLine {
  name: string;
  values: Values;
  /** The least and the greatest of each step: a band around the line. */
  low?: Values;
  high?: Values;
  /** Points that stand alone, as one an epoch. */
  dots?: boolean;
}

export interface CurveData {
  /** Steps, epochs, or s since 1970; ascending. */
  x: readonly number[];
  lines: readonly CurveLine[];
}

/** What a query answered, as a plot: each line named by its labels. */
export function curvesOf(answer: QueryAnswer, nameOf: (labels: Readonly<Record<string, string>>) => string): CurveData {
  const x = Array.from({ length: answer.count }, (_, i) => (answer.startMs + i * answer.stepMs) / 1000);
  return { x, lines: answer.lines.map(({ labels, values, low, high }) => ({ name: nameOf(labels), values, ...(low && high ? { low, high } : {}) })) };
}

/** Lines with places of their own on one axis of all their places. */
export function alignLines(parts: readonly { x: readonly number[]; line: CurveLine }[]): CurveData {
  const x = [...new Set(parts.flatMap((part) => part.x))].sort((a, b) => a - b);
  const placeOf = new Map(x.map((value, i) => [value, i]));
  const spread = (own: readonly number[], values: Values) => {
    const all = new Array<number | null | undefined>(x.length).fill(undefined);
    own.forEach((value, i) => (all[placeOf.get(value)!] = values[i] ?? null));
    return all;
  };
  return { x, lines: parts.map(({ x: own, line }) => ({ ...line, values: spread(own, line.values), ...(line.low ? { low: spread(own, line.low) } : {}), ...(line.high ? { high: spread(own, line.high) } : {}) })) };
}

/** The places of points without a neighbour: there is no line to be seen of them. */
export function lonelyPlaces(values: Values): number[] {
  const lonely: number[] = [];
  let previous = false, candidate = -1;
  for (let place = 0; place < values.length; place++) {
    const value = values[place];
    if (value === undefined) continue;
    if (candidate !== -1 && value === null) lonely.push(candidate);
    candidate = value !== null && !previous ? place : -1;
    previous = value !== null;
  }
  if (candidate !== -1) lonely.push(candidate);
  return lonely;
}

/** The place of the last point that any line has; -1 for none. */
export function lastPlace({ x, lines }: CurveData): number {
  for (let i = x.length - 1; i >= 0; i--) if (lines.some(({ values }) => values[i] !== null && values[i] !== undefined)) return i;
  return -1;
}

/** The value at a place, or the nearest one before it that the line has. */
export function valueAt({ values }: CurveLine, place: number): number | null {
  for (let i = Math.min(place, values.length - 1); i >= 0; i--) if (values[i] !== null && values[i] !== undefined) return values[i]!;
  return null;
}

/** Comma-separated values: the x axis, then each line, with its band. A cell that a spreadsheet would compute is made a text. */
export function toCsv({ x, lines }: CurveData, xName: string): string {
  const columns = lines.flatMap(({ name, values, low, high }) => [{ name, values }, ...(low ? [{ name: `${name} (least)`, values: low }] : []), ...(high ? [{ name: `${name} (greatest)`, values: high }] : [])]);
  const rows = x.map((value, i) => [value, ...columns.map((column) => column.values[i] ?? '')].join(','));
  return `${[[xName, ...columns.map(({ name }) => name)].map(cell).join(','), ...rows].join('\n')}\n`;
}

function cell(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

export type Freshness = { kind: 'live' } | { kind: 'stale'; sinceMs: number } | { kind: 'complete' } | { kind: 'empty' };

/** Whether a plot over time goes on until now. Three scrapes may be missed. */
export function freshnessOf(data: CurveData, { stands, endMs, intervalMs, stepMs }: { stands: boolean; endMs: number; intervalMs: number; stepMs: number }): Freshness {
  const last = lastPlace(data);
  if (last === -1) return { kind: 'empty' };
  if (stands) return { kind: 'complete' };
  const lastMs = data.x[last]! * 1000;
  return endMs - lastMs > 3 * Math.max(intervalMs, stepMs) ? { kind: 'stale', sinceMs: lastMs } : { kind: 'live' };
}

/** Means over the points within `width` of a line, for the eye; the band stays as it is. */
export function smooth(values: Values, width: number): Values {
  if (width <= 1) return [...values];
  let mean: number | null = null;
  const weight = 2 / (width + 1);
  return values.map((value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return value;
    mean = mean === null ? value : mean + weight * (value - mean);
    return mean;
  });
}
