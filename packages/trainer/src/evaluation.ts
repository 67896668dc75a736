import { type Classifier, type Precision, evaluateLogits, inference, release } from '@chameleon/core';
import type { PictureLoader } from '@chameleon/data';
import { tensor } from '@tensorflow/tfjs-core';

export interface Evaluation {
  /** Mean over the pictures; NaN when there are none. */
  loss: number;
  accuracy: number;
  correctCount: number;
  pictureCount: number;
  /** Which validation pictures, in the order of `probabilities`. */
  indices: Int32Array;
  /** [pictureCount, classes], row by row. */
  probabilities: Float32Array;
}

export interface EvaluationOptions {
  precision: Precision;
  imageSize: number;
  batchSize?: number;
  onProgress?: (done: number) => void;
  signal?: AbortSignal;
}

/** What a model says of the validation pictures, without a gradient: BatchNorm uses its running statistics. */
export async function evaluate(model: Classifier, loader: PictureLoader, { precision, imageSize, batchSize = 32, onProgress, signal }: EvaluationOptions): Promise<Evaluation> {
  let lossSum = 0, correctCount = 0;
  const indices: number[] = [], rows: Float32Array[] = [];
  for await (const batch of loader.valid({ batchSize, ...(signal ? { signal } : {}) })) {
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
  const probabilities = new Float32Array(indices.length * model.classCount);
  let offset = 0;
  for (const row of rows) {
    probabilities.set(row, offset);
    offset += row.length;
  }
  const pictureCount = indices.length;
  return { loss: lossSum / pictureCount, accuracy: correctCount / pictureCount, correctCount, pictureCount, indices: Int32Array.from(indices), probabilities };
}
