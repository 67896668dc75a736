import { type Classifier, type Optimizer, type Parameter, type ParameterGroup, type Pass, type Precision, Tape, clipGradients, crossEntropy, scaleGradients } from '@chameleon/core';
import type { Batch } from '@chameleon/data';
import { tensor } from '@tensorflow/tfjs-core';
import type { Exchange } from './exchange/exchange.js';
import { acrossRanks, rememberStatistics, whole } from './global-batch-norm.js';

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
  /** Whether BatchNorm takes the batch's statistics over all ranks' pictures. */
  syncBatchNorm: boolean;
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
export async function trainStep(batch: StepBatch, groups: readonly ParameterGroup[], parts: StepParts): Promise<StepResult> {
  const { epoch, globalBatch } = batch;
  const { model, optimizer, exchange, settings, onPhase = () => undefined } = parts;
  const statistics = rememberStatistics(model);
  try {
    const synchronised = settings.syncBatchNorm && exchange.worldSize > 1;
    // One that is given up half-way, by the others or for want of memory, leaves nothing behind.
    const own = whole(model, () => passThrough(batch, parts, synchronised));
    onPhase('exchange');
    const learning = groups.flatMap((group) => group.parameters);
    await exchange.sumGradients(learning);
    const [lossSum, correctCount, pictureCount, samples, ...votes] = await exchange.sumNumbers([own.lossSum, own.correctCount, batch.rows, batch.indices.reduce((sum, index) => sum + sampleHash(epoch, index), 0), ...(batch.votes ?? [])]);
    onPhase('optimizer');
    if (pictureCount! > 0) {
      // Gradients were divided by the pictures that were to come; bad ones are known of now alone.
      if (pictureCount !== globalBatch) scaleGradients(learning, globalBatch / pictureCount!);
      if (settings.clipNorm !== null) clipGradients(learning, settings.clipNorm);
      optimizer.step(groups);
    }
    statistics.forget();
    return { lossSum: lossSum!, correctCount: correctCount!, pictureCount: pictureCount!, samples: samples!, votes };
  } catch (error) {
    statistics.restore();
    throw error;
  } finally {
    for (const parameter of model.parameters()) parameter.clearGradient();
  }
}

/** Forward, loss and backward of this rank's pictures; the gradients stay on the parameters. */
function passThrough(batch: StepBatch, { model, exchange, settings, onPhase = () => undefined }: StepParts, synchronised: boolean): { lossSum: number; correctCount: number } {
  const { epoch, globalBatch } = batch;
  const totals = { lossSum: 0, correctCount: 0 };
  const parts = [...microBatches(batch, settings, synchronised)];
  for (const part of parts) {
    onPhase('forward');
    const counted = part.rows > 0, { pixels, labels, indices } = counted ? part : blankPart(settings.imageSize);
    const pictures = tensor(pixels, [labels.length, settings.imageSize, settings.imageSize, 3]);
    const tape = new Tape();
    const rowKeys = Array.from(indices, (index): number[] => [settings.seed, epoch, index]);
    // Gradients are whole, and may travel, in the last part's way back.
    const onGradient = part === parts.at(-1) ? { onGradient: (parameter: Parameter) => exchange.gradientReady(parameter) } : {};
    const across = acrossRanks(exchange, counted, onPhase);
    const pass: Pass = { tape, training: true, precision: settings.precision, rowKeys, ...onGradient, ...(synchronised ? { acrossRanks: across } : {}) };
    const logits = model.consume(pictures, pass);
    const loss = crossEntropy(logits, labels, { labelSmoothing: settings.labelSmoothing, globalBatch: counted ? globalBatch : Number.POSITIVE_INFINITY });
    logits.dispose();
    onPhase('backward');
    across.phase = 'backward';
    tape.walk(loss.gradient)?.dispose();
    totals.lossSum += counted ? loss.lossSum : 0;
    totals.correctCount += counted ? loss.correctCount : 0;
  }
  return totals;
}

/** 32 bits of a picture's number in an epoch (the finaliser of MurmurHash3): sums of a million stay exact. */
export function sampleHash(epoch: number, index: number): number {
  let hash = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(epoch + 1, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A batch in parts of nearly equal size, in order. Where all ranks have to make the same passes, some parts may be empty. */
function* microBatches({ pixels, labels, indices, rows, globalBatch }: StepBatch, { accumulate, imageSize }: StepSettings, synchronised: boolean): Generator<Pick<Batch, 'pixels' | 'labels' | 'indices' | 'rows'>> {
  const each = imageSize * imageSize * 3;
  const parts = Math.min(accumulate, synchronised ? globalBatch : rows);
  for (let part = 0; part < parts; part++) {
    const from = Math.floor((part * rows) / parts), to = Math.floor(((part + 1) * rows) / parts);
    yield { pixels: pixels.subarray(from * each, to * each), labels: labels.subarray(from, to), indices: indices.subarray(from, to), rows: to - from };
  }
}

/** One grey picture, for a pass that is made for the other ranks' sake: it counts nowhere, and no gradient comes of it. */
const blankPart = (imageSize: number) => ({ pixels: new Float32Array(imageSize * imageSize * 3), labels: Int32Array.of(0), indices: Int32Array.of(0) });
