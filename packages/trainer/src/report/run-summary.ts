import { type ClassificationFigures, type ConfusionMatrix, classificationFigures, confusionMatrix } from '@chameleon/core';
import { wilsonInterval } from './interval.js';
import type { Prediction, RunRecord } from './records.js';

/** How a run ended, worked out once for the whole page. */
export type Outcome = NonNullable<RunRecord['outcome']> | 'diverged';

export interface RunSummary {
  readonly outcome: Outcome;
  readonly matrix: ConfusionMatrix;
  readonly figures: ClassificationFigures;
  /** Null when no picture was judged. */
  readonly accuracy: { readonly value: number; readonly correctCount: number; readonly count: number; readonly low: number; readonly high: number } | null;
  /** Of the last epoch, as in the article's table; NaN without one. */
  readonly lastAccuracy: number;
  /** From 0: the epoch whose model was kept, the last of the best ones; null without one. */
  readonly bestEpoch: number | null;
  /** From the start to the end; without an end, what the epochs took. NaN when neither is known. */
  readonly seconds: number;
}

/** The index of the greatest probability, the first among equals; -1 where none is a number. */
export function predictedClass(probabilities: readonly number[]): number {
  let best = -1;
  for (const [i, probability] of probabilities.entries()) {
    if (Number.isFinite(probability) && (best === -1 || probability > probabilities[best]!)) best = i;
  }
  return best;
}

export function summarise(record: RunRecord): RunSummary {
  const { epochs, predictions, classes } = record;
  const matrix = confusionMatrix(predictions.map(({ label }) => label), predictions.map(({ probabilities }) => predictedClass(probabilities)), classes.length);
  const figures = classificationFigures(matrix);
  const lastAccuracy = epochs.at(-1)?.validAccuracy ?? Number.NaN;
  const best = epochs.reduce((highest, { validAccuracy }) => (validAccuracy > highest ? validAccuracy : highest), -1);
  const bestRow = epochs.findLast(({ validAccuracy }) => validAccuracy === best);
  return { outcome: outcomeOf(record), matrix, figures, accuracy: judge(predictions, figures, bestRow?.validAccuracy, record.validCount), lastAccuracy, bestEpoch: bestRow?.epoch ?? null, seconds: secondsOf(record) };
}

/** The predictions decide; where they weren't written down, the best epoch's accuracy does. */
function judge(predictions: readonly Prediction[], figures: ClassificationFigures, bestAccuracy: number | undefined, validCount: number): RunSummary['accuracy'] {
  if (predictions.length === 0 && (bestAccuracy === undefined || validCount === 0)) return null;
  const count = predictions.length || validCount;
  const correctCount = predictions.length > 0 ? figures.correctCount : Math.round(bestAccuracy! * count);
  return { value: correctCount / count, correctCount, count, ...wilsonInterval(correctCount, count) };
}

function outcomeOf({ outcome, steps, epochs, finishedAt }: RunRecord): Outcome {
  const lastLoss = steps.at(-1)?.loss ?? epochs.at(-1)?.trainLoss;
  if (lastLoss !== undefined && !Number.isFinite(lastLoss)) return 'diverged';
  return outcome ?? (finishedAt === '' ? 'interrupted' : 'done');
}

function secondsOf({ startedAt, finishedAt, epochs }: RunRecord): number {
  const elapsed = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
  if (Number.isFinite(elapsed)) return Math.max(0, elapsed);
  return epochs.length === 0 ? Number.NaN : epochs.reduce((sum, { seconds }) => sum + seconds, 0);
}
