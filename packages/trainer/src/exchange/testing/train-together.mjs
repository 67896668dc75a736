// A rank's part of a small run, by the real training step: pictures are drawn from their numbers, so that whoever takes one takes the same.
import { createHash } from 'node:crypto';
import { Adam, createClassifier, freeze, randomStream, unfreeze } from '@chameleon/core';
import { memory } from '@tensorflow/tfjs-core';
import { sliceOf } from '../../../dist/membership/split.js';
import { trainStep } from '../../../dist/training-step.js';

const TINY = { name: 'tiny', block: 'basic', layers: [1, 1, 1, 1], width: 8 };
const IMAGE_SIZE = 32, EACH = IMAGE_SIZE * IMAGE_SIZE * 3, PICTURES = 40;

/** Its label is whether it is bright. */
function picture(index) {
  const random = randomStream('picture', index), label = index % 2;
  return { label, pixels: Float32Array.from({ length: EACH }, () => label - 0.5 + random.normal()) };
}

const modes = { eval: { batchNorm: 'eval' }, 'batch-norm-only': { batchNorm: 'batch-norm-only' } };

/**
 * Trains `steps` steps of `batchSize` pictures, of which this rank takes its part of `split`; those in `bad` can't be read.
 * @returns all parameters and running statistics one after the other, base64, and the digest of the bits; the losses; tensors that were left behind
 */
export async function trainTogether(exchange, { steps, batchSize, split, mode, frozen = false, syncBatchNorm = false, head = 'linear', bad = [], accumulate = 1, clipNorm = null, precision = 'float32' }) {
  const model = createClassifier({ architecture: TINY, classCount: 2, head, seed: 5 }), optimizer = new Adam();
  if (frozen) freeze(model, modes[mode]);
  else unfreeze(model, modes[mode]);
  const { rank, worldSize } = exchange, losses = [];
  const settings = { precision, labelSmoothing: 0, clipNorm, accumulate, seed: 1, imageSize: IMAGE_SIZE, syncBatchNorm };
  const before = memory().numTensors;
  let after = before;
  for (let step = 0; step < steps; step++) {
    const order = Array.from({ length: batchSize }, (_, i) => (step * batchSize + i) % PICTURES);
    const indices = order.slice(...sliceOf(split, rank)).filter((index) => !bad.includes(index));
    const taken = indices.map(picture), pixels = new Float32Array(taken.length * EACH);
    taken.forEach((one, row) => pixels.set(one.pixels, row * EACH));
    const batch = { pixels, labels: Int32Array.from(taken, ({ label }) => label), indices: Int32Array.from(indices), rows: taken.length, epoch: 0, globalBatch: worldSize === 1 ? taken.length : batchSize };
    const groups = [{ name: 'all', learningRate: 1e-3, parameters: model.parameters().filter(({ trainable }) => trainable) }];
    const { lossSum, pictureCount } = await trainStep(batch, groups, { model, optimizer, exchange, settings });
    losses.push(lossSum / Math.max(1, pictureCount));
    // The first step makes the optimizer's state.
    if (step === 0) after = memory().numTensors;
  }
  const left = memory().numTensors - after;
  const bytes = Buffer.concat([...model.parameters(), ...model.buffers()].map(({ value }) => Buffer.from(value.dataSync().slice().buffer)));
  const tracked = model.batchNorms().map(({ batchesTracked }) => batchesTracked);
  model.dispose();
  optimizer.dispose();
  return { values: bytes.toString('base64'), digest: createHash('sha256').update(bytes).digest('hex'), losses, left, tracked };
}
