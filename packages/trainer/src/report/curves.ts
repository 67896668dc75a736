import { FONT_SIZE, type Drawing, type Figure, axisStyle, legendEntry } from './chart.js';
import { type Point, downsample } from './downsample.js';
import { DASH, decimal, percent, rate } from './format.js';
import { html } from './markup.js';
import type { ChangeRow, EpochRow, RunRecord, StepRow } from './records.js';

/** Points across a chart: more than two a pixel can't be seen. */
const STRETCH_COUNT = 450;
/** From this ratio of greatest to least on, a straight axis hides the small ones. */
const LOG_RATIO = 1000;
const RATE_LOG_RATIO = 20;
const GROUP_COLOURS = ['var(--series-1)', 'var(--series-2)', 'var(--series-3)', 'var(--series-4)', 'var(--series-5)', 'var(--series-6)'];

const WIDE = { width: 960, height: 300 };
const HALF = { width: 470, height: 280 };
const NARROW = { width: 400, height: 280 };

interface Curve {
  readonly points: readonly (Point | readonly [number, null])[];
  readonly colour: string;
  readonly thin?: boolean;
  readonly dashed?: boolean;
  readonly plain?: boolean;
}

/** Loss by step and epoch, accuracy by epoch, and each group's learning rate. Empty for a run without a step. */
export function curveFigures({ epochs, steps, changes = [] }: Pick<RunRecord, 'epochs' | 'steps' | 'changes'>): Figure[] {
  if (epochs.length === 0) return steps.length === 0 ? [] : [stepLossFigure(steps, changes)];
  const marks = alongEpochs(steps, changes).map(([at]) => at);
  return [lossFigure(epochs, steps, { changes, marks }), accuracyFigure(epochs, marks), rateFigure(epochs, marks)];
}

/** The loss of a run that ended in its first epoch: steps are all there is. */
function stepLossFigure(steps: readonly StepRow[], changes: readonly ChangeRow[]): Figure {
  const points = finite(steps.map(({ step, loss }): Point => [step, loss]));
  const option = axes([{ points: downsample(points, STRETCH_COUNT), colour: 'var(--train)', plain: true }], {
    name: 'step',
    from: steps[0]!.step,
    to: Math.max(steps.at(-1)!.step, steps[0]!.step + 1),
    log: spansDecades(points, LOG_RATIO),
    marks: changes.map(({ step }) => step),
  });
  return {
    id: 'loss',
    title: 'Loss',
    description: `Training loss of ${steps.length} steps; the last is ${decimal(steps.at(-1)!.loss)}.`,
    wide: { option, ...WIDE },
    narrow: { option, ...NARROW },
    legend: [legendEntry(swatch('train'), 'training, each step; last', decimal(steps.at(-1)!.loss)), ...changeEntries(changes)],
  };
}

function lossFigure(epochs: readonly EpochRow[], steps: readonly StepRow[], { changes, marks }: { changes: readonly ChangeRow[]; marks: readonly number[] }): Figure {
  const perStep = finite(alongEpochs(steps));
  const train = byEpoch(epochs, (row) => row.trainLoss);
  const valid = byEpoch(epochs, (row) => row.validLoss);
  const option = axes(
    [
      { points: downsample(perStep, STRETCH_COUNT), colour: 'var(--train)', thin: true },
      { points: train, colour: 'var(--train)' },
      { points: valid, colour: 'var(--valid)' },
    ],
    { ...epochAxis(epochs, perStep), log: spansDecades([...perStep, ...train, ...valid], LOG_RATIO), marks },
  );
  const last = epochs.at(-1)!;
  return {
    id: 'loss',
    title: 'Loss',
    description: `Loss by epoch. After epoch ${last.epoch + 1}: training ${decimal(last.trainLoss)}, validation ${decimal(last.validLoss)}.`,
    wide: { option, ...WIDE },
    narrow: { option, ...NARROW },
    legend: [
      perStep.length > 0 && legendEntry(swatch('train faint'), 'training, each step'),
      legendEntry(swatch('train'), 'training, mean of the epoch', decimal(last.trainLoss)),
      legendEntry(swatch('valid'), 'validation', decimal(last.validLoss)),
      ...changeEntries(changes),
    ],
  };
}

function accuracyFigure(epochs: readonly EpochRow[], marks: readonly number[]): Figure {
  const train = byEpoch(epochs, (row) => row.trainAccuracy);
  const valid = byEpoch(epochs, (row) => row.validAccuracy);
  const lowest = Math.min(1, ...[...train, ...valid].map(([, y]) => y));
  const option = axes(
    [
      { points: train, colour: 'var(--train)' },
      { points: valid, colour: 'var(--valid)' },
    ],
    { ...epochAxis(epochs, []), yMin: Math.max(0, Math.floor(lowest * 10 - 0.5) / 10), yMax: 1, yLabel: (value) => percent(value, 0), marks },
  );
  const last = epochs.at(-1)!;
  return {
    id: 'accuracy',
    title: 'Accuracy',
    description: `Accuracy by epoch. After epoch ${last.epoch + 1}: training ${percent(last.trainAccuracy)}, validation ${percent(last.validAccuracy)}.`,
    wide: { option, ...HALF },
    legend: [
      legendEntry(swatch('train'), 'training', percent(last.trainAccuracy)),
      legendEntry(swatch('valid'), 'validation', percent(last.validAccuracy)),
    ],
  };
}

function rateFigure(epochs: readonly EpochRow[], marks: readonly number[]): Figure {
  const groups = [...new Set(epochs.flatMap((row) => Object.keys(row.learningRates)))];
  const curves = groups.map((group, i): Curve => ({ points: rateStairs(epochs, group), colour: GROUP_COLOURS[i % GROUP_COLOURS.length]!, dashed: i > 0, plain: true }));
  const positive = curves.flatMap(({ points }) => points.filter((point): point is Point => point[1] !== null));
  const option = axes(curves, { ...epochAxis(epochs, []), ...rateAxis(positive), yLabel: rate, marks });
  return {
    id: 'rate',
    title: 'Learning rate',
    description: `Learning rate of ${groups.join(', ') || 'no group'} by epoch.`,
    wide: { option, ...HALF },
    legend: groups.map((group, i) => {
      const rates = epochs.map((row) => row.learningRates[group] ?? 0);
      return legendEntry(swatch(`series-${(i % GROUP_COLOURS.length) + 1}`), group, describeRates(rates));
    }),
  };
}

/** Whole decades around the rates where they are far apart, with room below and above. */
function rateAxis(points: readonly Point[]): Pick<Axes, 'log' | 'yMin' | 'yMax'> {
  if (!spansDecades(points, RATE_LOG_RATIO)) return { yMin: 0 };
  const values = points.map(([, y]) => y);
  return { log: true, yMin: 10 ** Math.floor(Math.log10(Math.min(...values) / 2)), yMax: 10 ** Math.ceil(Math.log10(2 * Math.max(...values))) };
}

/** `0.001`, `1e-5 → 0.001`, or from when on the group learns. */
function describeRates(rates: readonly number[]): string {
  const first = rates.findIndex((value) => value > 0);
  if (first === -1) return 'frozen';
  const [start, end] = [rates[first]!, rates.at(-1)!];
  const values = start === end ? rate(end) : `${rate(start)} → ${end > 0 ? rate(end) : 'frozen'}`;
  return first === 0 ? values : `${values} from epoch ${first + 1}`;
}

/** A rate holds for its whole epoch: stairs, with a gap where the group doesn't learn. */
function rateStairs(epochs: readonly EpochRow[], group: string): Curve['points'] {
  return epochs.flatMap(({ epoch, learningRates }): Curve['points'] => {
    const value = learningRates[group] ?? 0;
    return Number.isFinite(value) && value > 0 ? [[epoch, value] as const, [epoch + 1, value] as const] : [[epoch, null] as const];
  });
}

/** Steps on the axis of epochs: an epoch's row stands where its last step does. */
function alongEpochs(steps: readonly StepRow[], rows: readonly { step: number; epoch: number; loss?: number }[] = steps): Point[] {
  const firstOf = new Map<number, number>();
  let stepsAnEpoch = 1;
  for (const { epoch, step } of steps) {
    if (!firstOf.has(epoch)) firstOf.set(epoch, step);
    stepsAnEpoch = Math.max(stepsAnEpoch, step - firstOf.get(epoch)! + 1);
  }
  return rows.map(({ epoch, step, loss = Number.NaN }) => [epoch + (step - (firstOf.get(epoch) ?? step) + 1) / stepsAnEpoch, loss]);
}

const byEpoch = (epochs: readonly EpochRow[], value: (row: EpochRow) => number) => finite(epochs.map((row): Point => [row.epoch + 1, value(row)]));

const finite = (points: readonly Point[]) => points.filter(([, y]) => Number.isFinite(y));

function epochAxis(epochs: readonly EpochRow[], perStep: readonly Point[]) {
  return { name: 'epoch', from: epochs[0]!.epoch, to: Math.max(epochs.at(-1)!.epoch + 1, Math.ceil(perStep.at(-1)?.[0] ?? 0)) };
}

function spansDecades(points: readonly Point[], ratio: number): boolean {
  let [least, greatest] = [Infinity, 0];
  for (const [, y] of points) [least, greatest] = [Math.min(least, y), Math.max(greatest, y)];
  return least > 0 && greatest / least >= ratio;
}

interface Axes {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly log?: boolean;
  readonly yMin?: number;
  readonly yMax?: number;
  readonly yLabel?: (value: number) => string;
  /** Where somebody changed a setting: numbered lines from top to bottom. */
  readonly marks?: readonly number[];
}

function axes(curves: readonly Curve[], { name, from, to, log, yMin, yMax, yLabel, marks = [] }: Axes): Drawing['option'] {
  const format = yLabel ?? ((value: number) => (Number.isFinite(value) ? String(Number(value.toPrecision(3))) : DASH));
  return {
    grid: { left: 52, right: 16, top: 14, bottom: 44 },
    xAxis: { ...axisStyle, type: 'value', min: from, max: to, minInterval: 1, name, nameLocation: 'middle', nameGap: 28, splitLine: { show: false } },
    yAxis: {
      ...axisStyle,
      axisLine: { show: false },
      type: log ? 'log' : 'value',
      ...(yMin === undefined ? {} : { min: yMin }),
      ...(yMax === undefined ? {} : { max: yMax }),
      axisLabel: { ...axisStyle.axisLabel, formatter: format },
    },
    series: curves.map((curve, i) => ({ ...lineOf(curve), ...(i === 0 && marks.length > 0 ? { markLine: markLines(marks) } : {}) })),
    textStyle: { fontFamily: 'inherit', fontSize: FONT_SIZE },
  };
}

function lineOf({ points, colour, thin, dashed, plain }: Curve) {
  return {
    type: 'line',
    data: points,
    silent: true,
    emphasis: { disabled: true },
    clip: false,
    showSymbol: !thin && !plain && points.length <= 60,
    symbol: 'circle',
    symbolSize: 7,
    itemStyle: { color: colour },
    lineStyle: { color: colour, width: thin ? 1 : 2.5, opacity: thin ? 0.45 : 1, type: dashed ? 'dashed' : 'solid' },
  };
}

function markLines(marks: readonly number[]) {
  return {
    silent: true,
    symbol: 'none',
    lineStyle: { color: 'var(--muted)', width: 1, type: 'dashed' },
    label: { color: 'var(--muted)', fontSize: FONT_SIZE, fontFamily: 'inherit', formatter: '{b}', distance: 2 },
    data: marks.map((at, i) => ({ name: String(i + 1), xAxis: at })),
  };
}

const changeEntries = (changes: readonly ChangeRow[]) => changes.map(({ step, text }, i) => legendEntry(html`<b>${i + 1}</b>`, `after step ${step}: ${text}`));

const swatch = (kind: string) => html`<i class="swatch ${kind}"></i>`;
