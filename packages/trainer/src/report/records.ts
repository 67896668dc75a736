/** What a report is made of. Whoever reads a run directory fills these; nothing here opens a file. */

export interface EpochRow {
  /** From 0, as in core's recipes; the page counts from 1. */
  epoch: number;
  trainLoss: number;
  trainAccuracy: number;
  validLoss: number;
  validAccuracy: number;
  seconds: number;
  /** By parameter group; a group that doesn't learn has no entry, or 0. */
  learningRates: Record<string, number>;
  picturesPerSecond: number;
}

export interface StepRow {
  step: number;
  /** From 0. */
  epoch: number;
  loss: number;
}

/** A setting that somebody changed of the live run. */
export interface ChangeRow {
  /** Steps that were applied before it. */
  step: number;
  /** From 0. */
  epoch: number;
  text: string;
}

export interface Prediction {
  path: string;
  label: number;
  probabilities: number[];
}

export interface Mistake {
  path: string;
  label: number;
  predicted: number;
  probability: number;
  /** A `data:` URL of a JPEG, PNG or WebP picture; anything else is not drawn. */
  thumbnail: string;
}

export interface SkippedFile {
  path: string;
  reason: string;
}

export interface RunRecord {
  runId: string;
  title: string;
  recipe: string;
  architecture: string;
  classes: string[];
  trainCount: number;
  validCount: number;
  config: Record<string, unknown>;
  machine: Record<string, string>;
  versions: Record<string, string>;
  epochs: EpochRow[];
  /** In order; may be 100,000: the curve keeps each stretch's least and greatest. */
  steps: StepRow[];
  /** In order; drawn as numbered lines across the curves. */
  changes?: ChangeRow[];
  predictions: Prediction[];
  mistakes: Mistake[];
  skipped: SkippedFile[];
  /** ISO 8601; `finishedAt` may be empty for a run that was interrupted. */
  startedAt: string;
  finishedAt: string;
  /** How it ended. Absent: worked out of `finishedAt` and the last loss. */
  outcome?: 'done' | 'stopped early' | 'interrupted' | 'failed';
  /** What went wrong, for a run that failed. */
  fault?: string;
}

export interface ExperimentRow {
  recipe: string;
  /** What the body began from; absent: pretrained. A row from random weights shows what pretraining is worth. */
  weights?: 'pretrained' | 'random';
  /** Validation accuracy of each seed, in the order of the seeds, the same for every recipe. */
  accuracies: number[];
  /** Of each seed. */
  seconds: number[];
}

export interface ExperimentsRecord {
  title: string;
  architecture: string;
  dataset: string;
  epochs: number;
  batchSize: number;
  imageSize: number;
  precision: string;
  /** The pretrained weights, by name. */
  weights?: string;
  /** In the order of each row's accuracies. */
  seeds?: number[];
  trainCount?: number;
  validCount?: number;
  /** ISO 8601 */
  startedAt?: string;
  rows: ExperimentRow[];
  /** What makes this table again. */
  command: string;
  machine: Record<string, string>;
  versions: Record<string, string>;
}
