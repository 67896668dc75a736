import { type Classifier, type Optimizer, type ParameterGroup, type Precision, Tape, clipGradients, crossEntropy, release } from '@chameleon/core';
import type { Batch } from '@chameleon/data';
import { tensor } from '@tensorflow/tfjs-core';
import type { Exchange } from './exchange.js';

export interface StepSettings {
  precision: Precision;
  labelSmoothing: number;
  clipNorm: number | null;
  /** Micro-batches a step. */
  accumulate: number;
  /** With the epoch, names the random numbers of dropout. */
  seed: number;
  /** px */
  imageSize: number;
}

/** A rank's part of a step's pictures, and of what it is a part. */
export interface StepBatch extends Pick<Batch, 'pixels' | 'labels' | 'indices' | 'rows'> {
  epoch: number;
  /** Pictures of the step on all ranks together. */
  globalBatch: number;
}

export interface StepParts {
  model: Classifier;
  optimizer: Optimizer;
  exchange: Exchange;
  settings: StepSettings;
}

export interface StepResult {
  /** Over the whole batch, all ranks'. */
  lossSum: number;
  correctCount: number;
  pictureCount: number;
}

/** One step of training: data → forward → loss → backward → exchange → optimizer. */
export async function trainStep(batch: StepBatch, groups: readonly ParameterGroup[], { model, optimizer, exchange, settings }: StepParts): Promise<StepResult> {
  const { epoch, globalBatch } = batch;
  const totals = { lossSum: 0, correctCount: 0 };
  try {
    for (const part of microBatches(batch, settings)) {
      const pictures = tensor(part.pixels, [part.rows, settings.imageSize, settings.imageSize, 3]);
      const tape = new Tape();
      const rowKeys = Array.from(part.indices, (index): number[] => [settings.seed, epoch, index]);
      const logits = model.forward(pictures, { tape, training: true, precision: settings.precision, rowKeys });
      const loss = crossEntropy(logits, part.labels, { labelSmoothing: settings.labelSmoothing, globalBatch });
      release(pictures, logits);
      tape.walk(loss.gradient)?.dispose();
      totals.lossSum += loss.lossSum;
      totals.correctCount += loss.correctCount;
    }
    const learning = groups.flatMap((group) => group.parameters);
    await exchange.sumGradients(learning);
    if (settings.clipNorm !== null) clipGradients(learning, settings.clipNorm);
    optimizer.step(groups);
  } finally {
    for (const parameter of model.parameters()) parameter.clearGradient();
  }
  const [lossSum, correctCount] = await exchange.sumNumbers([totals.lossSum, totals.correctCount]);
  return { lossSum: lossSum!, correctCount: correctCount!, pictureCount: globalBatch };
}

/** A batch in parts of nearly equal size, in order. */
function* microBatches({ pixels, labels, indices, rows }: StepBatch, { accumulate, imageSize }: StepSettings): Generator<Pick<Batch, 'pixels' | 'labels' | 'indices' | 'rows'>> {
  const each = imageSize * imageSize * 3;
  const parts = Math.min(accumulate, rows);
  for (let part = 0; part < parts; part++) {
    const from = Math.floor((part * rows) / parts), to = Math.floor(((part + 1) * rows) / parts);
    yield { pixels: pixels.subarray(from * each, to * each), labels: labels.subarray(from, to), indices: indices.subarray(from, to), rows: to - from };
  }
}
