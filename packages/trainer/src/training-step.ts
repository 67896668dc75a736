import { type Classifier, type Optimizer, type Parameter, type ParameterGroup, type Precision, Tape, clipGradients, crossEntropy, release } from '@chameleon/core';
import type { Batch } from '@chameleon/data';
import { tensor } from '@tensorflow/tfjs-core';
import type { Exchange } from './exchange/exchange.js';

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
  /** Numbers whose sums over the ranks come back with the step: what ranks agree upon. */
  votes?: readonly number[];
}

/** What a step is at, for whoever measures it. */
export type StepPhase = 'data' | 'forward' | 'backward' | 'exchange' | 'optimizer';

export interface StepParts {
  model: Classifier;
  optimizer: Optimizer;
  exchange: Exchange;
  settings: StepSettings;
  onPhase?: (phase: StepPhase) => void;
}

export interface StepResult {
  /** Over the whole batch, all ranks'. */
  lossSum: number;
  correctCount: number;
  /** Fewer than `globalBatch` where bad pictures were left out. */
  pictureCount: number;
  /** The sum of `sampleHash` over the pictures: proves which ones were taken, whoever took them. */
  samples: number;
  votes: number[];
}

/**
 * One step of training: data → forward → loss → backward → exchange → optimizer. All that ranks have to agree on is summed before
 * the optimizer runs: a step is applied with its figures, or not at all.
 */
export async function trainStep(batch: StepBatch, groups: readonly ParameterGroup[], { model, optimizer, exchange, settings, onPhase = () => undefined }: StepParts): Promise<StepResult> {
  const { epoch, globalBatch } = batch;
  const totals = { lossSum: 0, correctCount: 0 };
  try {
    const parts = [...microBatches(batch, settings)];
    for (const part of parts) {
      onPhase('forward');
      const pictures = tensor(part.pixels, [part.rows, settings.imageSize, settings.imageSize, 3]);
      const tape = new Tape();
      const rowKeys = Array.from(part.indices, (index): number[] => [settings.seed, epoch, index]);
      // Gradients are whole, and may travel, in the last part's way back.
      const onGradient = part === parts.at(-1) ? { onGradient: (parameter: Parameter) => exchange.gradientReady(parameter) } : {};
      const logits = model.forward(pictures, { tape, training: true, precision: settings.precision, rowKeys, ...onGradient });
      const loss = crossEntropy(logits, part.labels, { labelSmoothing: settings.labelSmoothing, globalBatch });
      release(pictures, logits);
      onPhase('backward');
      tape.walk(loss.gradient)?.dispose();
      totals.lossSum += loss.lossSum;
      totals.correctCount += loss.correctCount;
    }
    onPhase('exchange');
    const learning = groups.flatMap((group) => group.parameters);
    await exchange.sumGradients(learning);
    const [lossSum, correctCount, pictureCount, samples, ...votes] = await exchange.sumNumbers([totals.lossSum, totals.correctCount, batch.rows, batch.indices.reduce((sum, index) => sum + sampleHash(epoch, index), 0), ...(batch.votes ?? [])]);
    onPhase('optimizer');
    if (settings.clipNorm !== null) clipGradients(learning, settings.clipNorm);
    optimizer.step(groups);
    return { lossSum: lossSum!, correctCount: correctCount!, pictureCount: pictureCount!, samples: samples!, votes };
  } finally {
    for (const parameter of model.parameters()) parameter.clearGradient();
  }
}

/** 32 bits of a picture's number in an epoch (the finaliser of MurmurHash3): sums of a million stay exact. */
export function sampleHash(epoch: number, index: number): number {
  let hash = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(epoch + 1, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
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
