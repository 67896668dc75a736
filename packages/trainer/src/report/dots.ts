import type { CustomSeriesOption } from 'echarts/charts';
import { type Drawing, FONT_SIZE, axisStyle } from './chart.js';
import type { MeanInterval } from './interval.js';

/** A row of a dot-and-interval chart: every single value, their mean, and how far the mean may be off. */
export interface DotRow {
  readonly name: string;
  /** Below the name. */
  readonly detail?: string;
  readonly values: readonly number[];
  /** Null where nothing was measured: the row stays empty. */
  readonly interval: MeanInterval | null;
}

export interface DotChart {
  readonly rows: readonly DotRow[];
  /** What the axis counts. */
  readonly axis: string;
  readonly format: (value: number) => string;
  /** The axis never goes beyond, though an interval may: there it ends without a cap. */
  readonly limits: readonly [number, number];
  /** Draws a line at zero, and has it in view. */
  readonly zero?: boolean;
}

const ROW_HEIGHT = 48;
const NARROW_ROW_HEIGHT = 64;
/** px left of a wide chart, for the names. */
const GUTTER = 240;
const AXIS_HEIGHT = 56;
const CAP = 5;
const DOT_RADIUS = 3.5;

/** With the names in a column at the left. */
export const wideDots = (chart: DotChart): Drawing => ({ width: 960, height: AXIS_HEIGHT + ROW_HEIGHT * chart.rows.length, option: dotOption(chart, false) });

/** With each name above its row, for a phone. */
export const narrowDots = (chart: DotChart): Drawing => ({ width: 400, height: AXIS_HEIGHT + NARROW_ROW_HEIGHT * chart.rows.length, option: dotOption(chart, true) });

function dotOption(chart: DotChart, narrow: boolean): Drawing['option'] {
  const { rows, axis, format } = chart;
  const range = axisRange(chart);
  const series: CustomSeriesOption = {
    type: 'custom',
    silent: true,
    data: rows.map((_, i) => [range.min, i]),
    renderItem: ({ dataIndex }, api) => {
      const place = (value: number): number => api.coord([value, dataIndex])[0]!;
      return { type: 'group', children: rowShapes(rows[dataIndex]!, { y: api.coord([range.min, dataIndex])[1]!, place, range, narrow, zero: chart.zero ?? false }) };
    },
  };
  return {
    grid: { left: narrow ? 16 : GUTTER, right: 24, top: 6, bottom: AXIS_HEIGHT - 6 },
    xAxis: { ...axisStyle, type: 'value', ...range, name: axis, nameLocation: 'middle', nameGap: 30, axisLabel: { ...axisStyle.axisLabel, formatter: format } },
    yAxis: { type: 'category', inverse: true, data: rows.map((_, i) => i), axisLine: { show: false }, axisTick: { show: false }, axisLabel: { show: false }, splitLine: { show: false } },
    series: [series],
    textStyle: { fontFamily: 'inherit', fontSize: FONT_SIZE },
  };
}

interface RowPlace {
  /** px: the row's middle. */
  readonly y: number;
  readonly place: (value: number) => number;
  readonly range: { readonly min: number; readonly max: number };
  readonly narrow: boolean;
  readonly zero: boolean;
}

/** Name, interval with its mean, and below it a dot for each seed. */
function rowShapes({ name, detail, values, interval }: DotRow, { y, place, range, narrow, zero }: RowPlace) {
  const middle = narrow ? y + 9 : y - 5;
  const half = (narrow ? NARROW_ROW_HEIGHT : ROW_HEIGHT) / 2;
  return [
    ...(zero ? [line(place(0), y - (narrow ? 2 : half), place(0), y + half, 'var(--muted)', 1)] : []),
    ...labelShapes(name, detail, { y, left: place(range.min), narrow }),
    ...(interval === null ? [] : intervalShapes(interval, { place, range, y: middle })),
    ...seedShapes(values.filter((value) => value >= range.min && value <= range.max).map(place), middle + 12),
  ];
}

/** Beside the row in two lines, or above it in one. */
function labelShapes(name: string, detail: string | undefined, { y, left, narrow }: { y: number; left: number; narrow: boolean }) {
  const text = (content: string, x: number, at: number, fill: string) => ({
    type: 'text' as const,
    style: { text: content, x, y: at, align: narrow ? ('left' as const) : ('right' as const), verticalAlign: 'middle' as const, fill, fontSize: FONT_SIZE, fontFamily: 'inherit', width: narrow ? 360 : GUTTER - 24, overflow: 'truncate' as const },
  });
  if (narrow) return [text(detail === undefined ? name : `${name} ${detail}`, left, y - 16, 'var(--text)')];
  const x = left - 16;
  return detail === undefined ? [text(name, x, y, 'var(--text)')] : [text(name, x, y - 9, 'var(--text)'), text(detail, x, y + 9, 'var(--muted)')];
}

function intervalShapes({ mean, low, high, single }: MeanInterval, { place, range, y }: { place: (value: number) => number; range: RowPlace['range']; y: number }) {
  if (!Number.isFinite(mean)) return [];
  const ends = single ? [] : [low, high];
  const caps = ends.filter((end) => end >= range.min && end <= range.max).map((end) => line(place(end), y - CAP, place(end), y + CAP, 'var(--train)', 1.5));
  const [from, to] = [Math.max(low, range.min), Math.min(high, range.max)];
  return [...(single ? [] : [line(place(from), y, place(to), y, 'var(--train)', 1.5)]), ...caps, line(place(mean), y - CAP - 4, place(mean), y + CAP + 4, 'var(--train)', 3)];
}

/** Dots that would hide one another stand below one another, three deep. */
function seedShapes(xs: readonly number[], y: number) {
  return xs.map((x, i) => {
    const hidden = xs.slice(0, i).filter((earlier) => Math.abs(earlier - x) < 2 * DOT_RADIUS).length;
    return { type: 'circle' as const, shape: { cx: x, cy: y + Math.min(2, hidden) * 5, r: DOT_RADIUS }, style: { fill: 'var(--valid)', stroke: 'var(--page)', lineWidth: 1 } };
  });
}

const line = (x1: number, y1: number, x2: number, y2: number, stroke: string, lineWidth: number) => ({ type: 'line' as const, shape: { x1, y1, x2, y2 }, style: { stroke, lineWidth } });

/** Room for every value and interval, its ends on round numbers, within the limits. */
export function axisRange({ rows, limits: [least, greatest], zero }: Pick<DotChart, 'rows' | 'limits' | 'zero'>): { min: number; max: number; interval: number } {
  const seen = rows.flatMap(({ values, interval }) => [...values, ...(interval ? [interval.low, interval.high] : []), ...(zero ? [0] : [])]).filter(Number.isFinite);
  if (seen.length === 0) return { min: least, max: greatest, interval: (greatest - least) / 5 };
  const inside = (value: number) => Math.min(greatest, Math.max(least, value));
  const [low, high] = [inside(Math.min(...seen)), inside(Math.max(...seen))];
  const interval = roundStep(Math.max(high - low, 0.005) / 4);
  return { min: inside(tidy(Math.floor(low / interval - 0.15) * interval)), max: inside(tidy(Math.ceil(high / interval + 0.15) * interval)), interval };
}

/** The least of 1, 2 and 5 times a power of ten that is not below. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  return tidy([1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= step - 1e-12)!);
}

/** Without the dust of binary fractions. */
const tidy = (value: number) => Number(value.toPrecision(12));
