import { type Classifier, type Precision, evaluateLogits, inference, release } from '@chameleon/core';
import type { PictureLoader } from '@chameleon/data';
import { tensor } from '@tensorflow/tfjs-core';
import { type Exchange, alone } from './exchange/exchange.js';
import { evenSplit, sliceOf } from './membership/split.js';

export interface Evaluation {
  /** Mean over the pictures; NaN when there are none. */
  loss: number;
  accuracy: number;
  correctCount: number;
  pictureCount: number;
  /** Which validation pictures, in the order of `probabilities`: this rank's own. */
  indices: Int32Array;
  /** [pictureCount, classes], row by row. */
  probabilities: Float32Array;
}

export interface EvaluationOptions {
  precision: Precision;
  imageSize: number;
  batchSize?: number;
  onProgress?: (done: number) => void;
  signal?: AbortSignal | undefined;
  /** With others, each rank judges its part of `validCount` pictures, and loss and counts are those of all. */
  exchange?: Exchange;
  validCount?: number;
}

/** What a model says of the validation pictures, without a gradient: BatchNorm uses its running statistics. */
export async function evaluate(model: Classifier, loader: PictureLoader, { precision, imageSize, batchSize = 32, onProgress, signal, exchange = alone, validCount = 0 }: EvaluationOptions): Promise<Evaluation> {
  let lossSum = 0, correctCount = 0;
  const indices: number[] = [], rows: Float32Array[] = [];
  const [from, to] = sliceOf(evenSplit(validCount, exchange.worldSize), exchange.rank);
  for await (const batch of loader.valid({ batchSize, ...(exchange.worldSize > 1 ? { from, to } : {}), signal })) {
    if (batch.rows === 0) continue;
    const pictures = tensor(batch.pixels, [batch.rows, imageSize, imageSize, 3]);
    const logits = model.forward(pictures, inference(precision));
    const result = evaluateLogits(logits, batch.labels);
    release(pictures, logits);
    lossSum += result.lossSum;
    correctCount += result.correctCount;
    indices.push(...batch.indices);
    rows.push(result.probabilities);
    onProgress?.(indices.length);
  }
  const [loss, correct, pictureCount] = (await exchange.sumNumbers([lossSum, correctCount, indices.length])) as [number, number, number];
  return { loss: loss / pictureCount, accuracy: correct / pictureCount, correctCount: correct, pictureCount, indices: Int32Array.from(indices), probabilities: joined(rows) };
}

/** The probabilities of all ranks' pictures, in the order of the ranks, on every rank. */
export async function gatherEvaluation(evaluation: Evaluation, exchange: Exchange): Promise<Evaluation> {
  if (exchange.worldSize === 1) return evaluation;
  const indices: number[] = [], rows: Float32Array[] = [];
  for (let root = 0; root < exchange.worldSize; root++) {
    // A copy of its own: what comes may lie anywhere in a larger buffer.
    const { buffer } = new Uint8Array(await exchange.broadcast(root === exchange.rank ? packed(evaluation) : null, root));
    const [count = 0] = new Uint32Array(buffer, 0, 1);
    indices.push(...new Int32Array(buffer, 4, count));
    rows.push(new Float32Array(buffer, 4 + 4 * count));
  }
  return { ...evaluation, indices: Int32Array.from(indices), probabilities: joined(rows) };
}

/** How many, which, and what each is given, one after the other. */
function packed({ indices, probabilities }: Evaluation): Uint8Array {
  return Buffer.concat([Uint32Array.of(indices.length), indices, probabilities].map((array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)));
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let offset = 0;
  for (const row of rows) {
    whole.set(row, offset);
    offset += row.length;
  }
  return whole;
}
