/**
 * A run's loss and accuracy over its steps, within bounds whatever its length: up to 262,144 stretches of as many steps each as it takes.
 * When they are full, neighbours are joined, so that memory stays where it is; of each stretch the mean and the least and greatest loss
 * are kept, so that no peak is lost.
 */
const CAPACITY = 2 ** 18;

export interface StepFact {
  /** From 1. */
  step: number;
  loss: number;
  correct: number;
  pictures: number;
  atMs: number;
}

export interface CurvePoints {
  /** Each stretch's last step. */
  steps: number[];
  atMs: number[];
  /** Means; NaN where no loss of the stretch is a number. */
  loss: number[];
  low: number[];
  high: number[];
  accuracy: number[];
  stepsPerPoint: number;
}

interface Columns {
  count: Float64Array;
  /** Of the losses that are numbers. */
  finite: Float64Array;
  sum: Float64Array;
  low: Float64Array;
  high: Float64Array;
  correct: Float64Array;
  pictures: Float64Array;
  lastStep: Float64Array;
  atMs: Float64Array;
}

const NAMES = ['count', 'finite', 'sum', 'low', 'high', 'correct', 'pictures', 'lastStep', 'atMs'] as const satisfies readonly (keyof Columns)[];
const emptyColumns = (length: number): Columns => Object.fromEntries(NAMES.map((name) => [name, new Float64Array(length)])) as unknown as Columns;

export class StepCurve {
  #columns = emptyColumns(1024);
  /** Stretches in use. */
  #length = 0;
  /** Steps a stretch. */
  #width = 1;
  #lastStep = 0;

  get lastStep(): number {
    return this.#lastStep;
  }

  push({ step, loss, correct, pictures, atMs }: StepFact): void {
    while (Math.floor((step - 1) / this.#width) >= CAPACITY) this.#halve();
    const at = Math.floor((step - 1) / this.#width);
    this.#makeRoom(at + 1);
    const columns = this.#columns;
    columns.count[at]!++;
    columns.correct[at]! += correct;
    columns.pictures[at]! += pictures;
    columns.lastStep[at] = step;
    columns.atMs[at] = atMs;
    this.#length = Math.max(this.#length, at + 1);
    this.#lastStep = step;
    if (!Number.isFinite(loss)) return;
    const first = columns.finite[at]! === 0;
    columns.low[at] = first ? loss : Math.min(columns.low[at]!, loss);
    columns.high[at] = first ? loss : Math.max(columns.high[at]!, loss);
    columns.finite[at]!++;
    columns.sum[at]! += loss;
  }

  /** Takes back what came after a step: the run went on from there. Of a stretch of several steps that it falls into, all is taken back. */
  truncate(step: number): void {
    const kept = Math.min(this.#length, Math.floor(step / this.#width));
    for (const name of NAMES) this.#columns[name].fill(0, kept, this.#length);
    this.#length = kept;
    this.#lastStep = kept === 0 ? 0 : this.#columns.lastStep[kept - 1]!;
  }

  /** The steps in [fromStep, toStep] in at most about `pointCount` points. */
  points(fromStep: number, toStep: number, pointCount: number): CurvePoints {
    const from = Math.max(0, Math.floor((fromStep - 1) / this.#width));
    const to = Math.min(this.#length, Math.floor((Math.max(1, toStep) - 1) / this.#width) + 1);
    const each = Math.max(1, Math.ceil((to - from) / pointCount));
    const points: CurvePoints = { steps: [], atMs: [], loss: [], low: [], high: [], accuracy: [], stepsPerPoint: each * this.#width };
    // Stretches are joined at the same places wherever the span begins, so that a curve doesn't flicker as it grows.
    for (let start = Math.floor(from / each) * each; start < to; start += each) this.#join(points, Math.max(start, from), Math.min(start + each, to));
    return points;
  }

  #join(points: CurvePoints, from: number, to: number): void {
    const { count, finite, sum, low, high, correct, pictures, lastStep, atMs } = this.#columns;
    let counted = 0, numbers = 0, total = 0, least = Number.NaN, greatest = Number.NaN, right = 0, seen = 0, last = from;
    for (let i = from; i < to; i++) {
      if (count[i] === 0) continue;
      counted += count[i]!;
      right += correct[i]!;
      seen += pictures[i]!;
      last = i;
      if (finite[i] === 0) continue;
      least = numbers === 0 ? low[i]! : Math.min(least, low[i]!);
      greatest = numbers === 0 ? high[i]! : Math.max(greatest, high[i]!);
      numbers += finite[i]!;
      total += sum[i]!;
    }
    if (counted === 0) return;
    points.steps.push(lastStep[last]!);
    points.atMs.push(atMs[last]!);
    points.loss.push(numbers === 0 ? Number.NaN : total / numbers);
    points.low.push(least);
    points.high.push(greatest);
    points.accuracy.push(seen === 0 ? Number.NaN : right / seen);
  }

  #makeRoom(length: number): void {
    const have = this.#columns.count.length;
    if (length <= have) return;
    const grown = emptyColumns(Math.min(CAPACITY, Math.max(length, 2 * have)));
    for (const name of NAMES) grown[name].set(this.#columns[name]);
    this.#columns = grown;
  }

  #halve(): void {
    const old = this.#columns;
    const next = emptyColumns(old.count.length);
    for (let i = 0; i < this.#length; i++) {
      if (old.count[i] === 0) continue;
      const at = i >> 1;
      const first = next.finite[at] === 0;
      for (const name of ['count', 'finite', 'sum', 'correct', 'pictures'] as const) next[name][at]! += old[name][i]!;
      for (const name of ['lastStep', 'atMs'] as const) next[name][at] = old[name][i]!;
      if (old.finite[i] === 0) continue;
      next.low[at] = first ? old.low[i]! : Math.min(next.low[at]!, old.low[i]!);
      next.high[at] = first ? old.high[i]! : Math.max(next.high[at]!, old.high[i]!);
    }
    this.#columns = next;
    this.#length = (this.#length + 1) >> 1;
    this.#width *= 2;
  }
}
