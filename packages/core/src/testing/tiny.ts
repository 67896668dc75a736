import { type Tensor, tensor } from '@tensorflow/tfjs-core';
import type { BatchNormMode } from '../freezing.js';
import { crossEntropy } from '../loss.js';
import type { Architecture } from '../models/architecture.js';
import { type Classifier, type HeadKind, createClassifier } from '../models/classifier.js';
import type { Precision } from '../ops/kernels.js';
import type { Optimizer, ParameterGroup } from '../optimizers/optimizer.js';
import { randomStream } from '../random.js';
import { Tape } from '../tape.js';

/** All parts of a ResNet, small enough for plain JavaScript. */
const TINY: Architecture = { name: 'tiny', block: 'basic', layers: [1, 1, 1, 1], width: 4 };
export const CLASS_COUNT = 3;
/** px */
export const SIZE = 32;

export const tinyClassifier = (head: HeadKind = 'linear', seed = 1): Classifier => createClassifier({ architecture: TINY, classCount: CLASS_COUNT, head, seed });

export interface TinyBatch { pixels: Float32Array; labels: Int32Array; keys: (number | string)[][] }

/** Pictures whose brightness tells the class, and noise. */
export function tinyBatch(rows: number, seed = 1): TinyBatch {
  const random = randomStream('tiny batch', seed);
  const labels = Int32Array.from({ length: rows }, () => random.integer(CLASS_COUNT));
  const each = SIZE * SIZE * 3;
  const pixels = new Float32Array(rows * each);
  for (let row = 0; row < rows; row++) for (let i = 0; i < each; i++) pixels[row * each + i] = labels[row]! - 1 + random.normal();
  return { pixels, labels, keys: Array.from({ length: rows }, (_, row) => [seed, row]) };
}

export const picturesOf = ({ pixels, labels }: TinyBatch): Tensor => tensor(pixels, [labels.length, SIZE, SIZE, 3]);

/** One forward and backward pass; gradients stay on the parameters. */
export function computeGradients(model: Classifier, batch: TinyBatch, { globalBatch = batch.labels.length, precision = 'float32' }: { globalBatch?: number; precision?: Precision } = {}): number {
  const pictures = picturesOf(batch), tape = new Tape();
  const logits = model.forward(pictures, { tape, training: true, precision, rowKeys: batch.keys });
  const { lossSum, gradient } = crossEntropy(logits, batch.labels, { globalBatch });
  pictures.dispose();
  logits.dispose();
  tape.walk(gradient)?.dispose();
  return lossSum / batch.labels.length;
}

/** Steps of training, each on a batch of its own. @returns the losses */
export function trainTiny(model: Classifier, optimizer: Optimizer, steps: number, { groups, rows = 6, precision = 'float32', from = 0 }: { groups?: () => ParameterGroup[]; rows?: number; precision?: Precision; from?: number } = {}): number[] {
  return Array.from({ length: steps }, (_, step) => {
    const loss = computeGradients(model, tinyBatch(rows, from + step), { precision });
    optimizer.step(groups?.() ?? [{ name: 'all', learningRate: 0.01, parameters: model.parameters() }]);
    for (const parameter of model.parameters()) parameter.clearGradient();
    return loss;
  });
}

export const BATCH_NORM_MODES: readonly BatchNormMode[] = ['batch-stats', 'eval', 'batch-norm-only'];

/** The bits of every parameter and running statistic, by name. */
export function bitsOf(model: Classifier): Map<string, string> {
  return new Map([...model.parameters(), ...model.buffers()].map(({ name, value }) => {
    const { buffer, byteOffset, byteLength } = value.dataSync() as Float32Array;
    return [name, Buffer.from(buffer, byteOffset, byteLength).toString('base64')];
  }));
}
